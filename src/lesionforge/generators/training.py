"""The one loop that trains every generative method.

A GAN is networks and losses; everything else is here and in what it calls: the order of the steps and averaging
(`generators.state`), checkpoints, pictures and the log (`generators.training_folder`), and the watch for samples that
get no better and numbers that stop being finite. All randomness is derived from the seed and the number of the batch,
so a run that was killed continues to the same result, bit for bit on the same machine.

Several processes may train together (`generators.distributed`). All step, and all take up a state; what else there is
to do, the first does, while the others wait to hear how it came out.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lesionforge import registry
from lesionforge.data.hounsfield import Window, default_window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, TrainingDivergedError
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.distributed import joined
from lesionforge.generators.real_batch import check_shown
from lesionforge.generators.state import TrainingPlan, TrainingState
from lesionforge.generators.training_folder import TrainingFolder
from lesionforge.generators.watch import Watch
from lesionforge.networks import choose_device, memory_kept, seeded
from lesionforge.progress import SILENT, Advance, Progress


def train(
    method: GenerativeMethod,
    patches: Patches,
    out: Path | str,
    *,
    plan: TrainingPlan = TrainingPlan(),
    window: Window | None = None,
    validation: Patches | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Train ``method`` on ``patches`` and leave a checkpoint in the folder ``out``.

    Parameters
    ----------
    patches
        The training set. The checkpoint, and every sample from it, says that all its patients were seen.
    validation
        Other patients, real ones, to watch quality and copying on; the checkpoint is then the best generator by their
        measure, and says that these patients were seen as well, for a choice was made on them.
    resume
        Continue what is in ``out``; the patches, the settings and the plan must be the same, save for the
        number of images, which may grow.

    Raises
    ------
    LeakError
        ``validation`` holds a patient whom training sees, directly or through a generator.
    LesionForgeError
        The patches do not fit the method or each other, or there is nothing to learn from.
    StorageError
        ``out`` is taken, holds another training, or the disk refuses.
    TrainingDivergedError
        A loss stopped being finite; the last good state is kept.
    """
    out, chosen = Path(out), choose_device(device)
    window = window or default_window(patches.unit)
    _check(method, patches, window)
    total = plan.images or method.epochs * len(patches)
    method.check_length(patches.shape, total)
    description = " ".join(["training", registry.name_of(method), *patches.classes])
    with joined(chosen) as team, seeded(), memory_kept():
        progress = progress if team.is_first else SILENT
        state = TrainingState(method, patches, window=window, plan=plan, device=chosen, team=team)
        watch = None if validation is None else Watch(state, validation)
        run = _Run(state, watch, TrainingFolder(out, state, watch), progress)
        run.open(resume=resume)
        with progress.work(description, total, unit="images", done=state.images_seen) as advance:
            run.train_until(total, advance)
    return out


def _check(method: GenerativeMethod, patches: Patches, window: Window) -> None:
    if len(patches) < 2:
        raise LesionForgeError(f"a generator needs at least 2 patches to learn from, but {len(patches)} came.")
    if method.conditional and (len(patches.classes) < 2 or "" in patches.labels):
        came = ", ".join(repr(label) for label in sorted(set(patches.labels.tolist())))
        raise LesionForgeError(
            f"{registry.name_of(method)} learns to tell classes apart: patches must have two labels or more and none "
            f"without, but their labels are {came}. Leave out --label, or choose a method that makes one class."
        )
    method.check_shape(patches.shape)
    check_shown(method, patches, window)
    pixels = patches.images.reshape(len(patches), -1)
    lowest, highest = pixels.min(axis=1), pixels.max(axis=1)
    if (lowest.clip(window.low, window.high) == highest.clip(window.low, window.high)).all():
        raise LesionForgeError(
            f"patches must have contrast within the window {window.name} ({window.low:g} to {window.high:g} "
            f"{window.unit}), but each is of one value there, and all their values lie in {lowest.min():g} to "
            f"{highest.max():g}: choose another window, or look at the source."
        )


@dataclass
class _Run:
    """A training, and what is to be done beside its steps."""

    state: TrainingState
    watch: Watch | None
    folder: TrainingFolder
    progress: Progress

    def open(self, *, resume: bool) -> None:
        """Take up what is in the folder if asked to; else it must be empty."""
        lead = self.state.team.led
        if lead(partial(self.folder.open, resume=resume)):
            self.folder.restore()
            lead(self.folder.forget_what_came_later)

    def train_until(self, total: int, advance: Advance) -> None:
        """Step until ``total`` images were shown or the watch ends it, and write what is due on the way.

        A checkpoint that an earlier, shorter training left stays as it is until this one ends.
        """
        state, lead = self.state, self.state.team.led
        ended = self.ends(total)
        while not ended:
            shown = state.step()
            advance(shown, **self.shown)
            ended = state.images_seen >= total
            if ended or any(state.images_seen % every_images < shown for every_images in self.intervals):
                ended = lead(partial(self.do_what_is_due, shown, total))
        lead(self.finish)

    @property
    def intervals(self) -> tuple[int, ...]:
        """After how many images each part of `do_what_is_due` is, in its order."""
        plan = self.state.plan
        return (
            plan.watch.every_images,
            plan.log_every_images,
            plan.grid_every_images,
            plan.checkpoint_every_images,
        )

    def do_what_is_due(self, shown: int, total: int) -> bool:
        """Measure and write after a step that showed so many images; return whether the training has ended."""
        folder = self.folder
        # Measured first: what is saved after it holds what it found, and if that ends the training, all is due.
        actions = (self.measure, folder.log, folder.draw_grid, folder.save)
        for action, every_images in zip(actions, self.intervals, strict=True):
            if self.ends(total) or self.state.images_seen % every_images < shown:
                self.require_finite()
                action()
        return self.ends(total)

    def ends(self, total: int) -> bool:
        """Whether there is nothing more to do; of several processes only the first is sure to know."""
        return self.state.images_seen >= total or bool(self.watch and self.watch.verdict)

    def finish(self) -> None:
        """Write the checkpoint, if it is not there."""
        if not self.folder.is_finished:
            self.folder.finish()

    def require_finite(self) -> None:
        """Look before anything is written.

        Raises
        ------
        TrainingDivergedError
            A loss term or a weight is not a finite number. What was saved before stays.
        """
        if lost := self.state.not_finite():
            raise TrainingDivergedError(
                f"{' and '.join(lost)} stopped being finite before {self.state.images_seen:,} images were shown; "
                f"{self.folder.kept} in {self.folder.out}. A lower learning rate (--set learning_rate=…), or looking "
                "at the patches for values outside the window, is the usual way out; --resume with --images no "
                "larger than what is kept makes a checkpoint of that."
            )

    @property
    def shown(self) -> dict[str, float]:
        """Figures for the progress bar."""
        return {"distance": self.watch.measurements[-1].distance} if self.watch and self.watch.measurements else {}

    def measure(self) -> None:
        """Hold samples against validation patients, if there are any, and say what must be known."""
        state = self.state
        if self.watch is None or state.images_seen < state.method.least_images(state.patches.shape):
            return
        found = self.watch.measure()
        self.folder.write_quality()
        say = self.progress.say
        if found.copying:
            say(
                f"warning: after {found.images_seen:,} images {found.copied_share:.0%} of the samples lie nearer to a "
                "training image than the nearest 5 % of validation patches do: the generator may be copying."
            )
        if verdict := self.watch.verdict:
            say(f"training ends after {found.images_seen:,} images: {verdict}.")
