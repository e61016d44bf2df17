"""The one loop that trains every generative method.

A GAN is networks and losses; everything else is here: the order of the steps, averaging, checkpoints, pictures,
the log, and the watch for numbers that stop being finite. All randomness is derived from the seed and the number
of the batch, so a run that was killed continues to the same result, bit for bit on the same machine.

A run's folder holds ``training.json`` and ``training-N.safetensors`` (all that a continued run needs),
``log.jsonl``, ``grids/synthetic_N.png`` and, when it is finished, the checkpoint (see `generators.checkpoint`). With
validation patients, ``quality.csv`` tells how good the generator was when, and the checkpoint is the best of these
(see `generators.watch`); else it is the last.
"""

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from lesionforge import registry, settings
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import Window, default_window
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.errors import LesionForgeError, StorageError, TrainingDivergedError
from lesionforge.generators.checkpoint import (
    FORMAT,
    MANIFEST,
    VERSION,
    WEIGHTS,
    Subject,
    identify,
    read_manifest,
)
from lesionforge.generators.contract import Condition, GenerativeMethod, Moment
from lesionforge.generators.real_batch import check_shown
from lesionforge.generators.state import TrainingPlan, TrainingState
from lesionforge.generators.watch import Watch
from lesionforge.networks import choose_device, load_tensors, save_tensors, seeded, torch_generator
from lesionforge.progress import SILENT, Advance, Progress
from lesionforge.storage import check_files, describe_file, new_file, read_json, storage_errors, write_json, write_text

STATE = "training.json"
LOG = "log.jsonl"
QUALITY = "quality.csv"
GRIDS = "grids"
GRID_PATCHES = 64
BEST = "best."  # prefixes the weights of the best measurement in a saved state


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
    out = Path(out)
    window = window or default_window(patches.unit)
    _check(method, patches, window)
    total = plan.images or method.epochs * len(patches)
    method.check_length(patches.shape, total)
    state = TrainingState(method, patches, window=window, plan=plan, device=choose_device(device))
    watch = None if validation is None else Watch(state, validation)
    run = _Run(state, out, watch, progress)
    run.open(resume=resume)
    description = " ".join(["training", registry.name_of(method), *patches.classes])
    with seeded(), progress.work(description, total, unit="images", done=state.images_seen) as advance:
        run.train_until(total, advance)
    return out


def read_log(out: Path) -> list[dict[str, float]]:
    """Return the rows of a training's log: ``images_seen`` and the mean of each loss term since the last row."""
    return [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]


def read_quality(out: Path) -> pd.DataFrame:
    """Return what a training found on validation patients, a row for each time (`watch.Measurement`)."""
    return pd.read_csv(out / QUALITY)


def read_curves(out: Path) -> pd.DataFrame:
    """Return losses and, if it was watched, quality as a long table: ``images_seen``, ``term`` and ``value``."""
    tables = [pd.DataFrame(read_log(out))]
    if (out / QUALITY).exists():
        tables.append(read_quality(out)[["images_seen", "distance", "floor", "nearest_ratio", "copied_share"]])
    return pd.concat([table.melt("images_seen", var_name="term") for table in tables], ignore_index=True)


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
    """A training and its folder."""

    state: TrainingState
    out: Path
    watch: Watch | None
    progress: Progress
    rows: list[dict[str, float]] = field(default_factory=list)

    def open(self, *, resume: bool) -> None:
        """Take up what is in the folder if asked to; else it must be empty."""
        out = self.out
        if (out / STATE).exists() and resume:
            self.restore()
        elif resume and out.is_dir() and all(_left_early(file) for file in out.iterdir()):
            for file in (LOG, QUALITY):
                (out / file).unlink(missing_ok=True)
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(
                f"{out} must be empty, but it is not: choose another folder, or continue the training there with "
                "--resume."
            )
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)

    def train_until(self, total: int, advance: Advance) -> None:
        """Step until ``total`` images were shown or the watch ends it, and write what is due on the way.

        A checkpoint that an earlier, shorter training left stays as it is until this one ends.
        """
        state, plan = self.state, self.state.plan
        due = {
            self.measure: plan.watch.every_images,  # first: what is saved after it holds what it found
            self.log: plan.log_every_images,
            self.draw_grid: plan.grid_every_images,
            self.save: plan.checkpoint_every_images,
        }
        while not self.ends(total):
            shown = state.step()
            advance(shown, **self.shown)
            for action, every_images in due.items():
                if self.ends(total) or state.images_seen % every_images < shown:
                    self.require_finite()
                    action()
        if not self._is_finished():
            self.finish()

    def ends(self, total: int) -> bool:
        """Whether there is nothing more to do."""
        return self.state.images_seen >= total or bool(self.watch and self.watch.verdict)

    def _is_finished(self) -> bool:
        try:
            manifest = read_manifest(self.out)
            trained = manifest.get("choice", {}).get("images_trained", manifest["images_seen"])
            return bool(trained == self.state.images_seen)
        except StorageError:  # there is none, or a kill came between its two files
            return False

    def require_finite(self) -> None:
        """Look before anything is written.

        Raises
        ------
        TrainingDivergedError
            A loss term or a weight is not a finite number. What was saved before stays.
        """
        if lost := self.state.not_finite():
            kept = "no earlier state had been kept"
            if (self.out / STATE).exists():
                kept = f"the state at {read_json(self.out / STATE, of='a training')['images_seen']:,} images is kept"
            raise TrainingDivergedError(
                f"{' and '.join(lost)} stopped being finite before {self.state.images_seen:,} images were shown; "
                f"{kept} in {self.out}. A lower learning rate (--set learning_rate=…), or looking at the patches for "
                "values outside the window, is the usual way out; --resume with --images no larger than what is kept "
                "makes a checkpoint of that."
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
        self._write_quality(self.watch)
        say = self.progress.say
        if found.copying:
            say(
                f"warning: after {found.images_seen:,} images {found.copied_share:.0%} of the samples lie nearer to a "
                "training image than the nearest 5 % of validation patches do: the generator may be copying."
            )
        if verdict := self.watch.verdict:
            say(f"training ends after {found.images_seen:,} images: {verdict}.")

    def _write_quality(self, watch: Watch) -> None:
        write_text(self.out / QUALITY, watch.table().to_csv(index=False))

    def log(self) -> None:
        """Add the mean loss terms to the log."""
        self.rows.append({"images_seen": self.state.images_seen, **self.state.take_mean_losses()})
        self._write_log()

    def _write_log(self) -> None:
        write_text(self.out / LOG, "".join(json.dumps(row) + "\n" for row in self.rows))

    @torch.no_grad()
    def draw_grid(self) -> None:
        """Save a sheet of samples of the averaged generator, always from the same latent vectors; classes in turn.

        A pictured method fulfils the same training images at every time, evenly taken from the whole set.
        """
        state = self.state
        rng = torch_generator(state.device, state.plan.seed, "grid")
        latent = state.method.latent(GRID_PATCHES, rng)
        condition = Condition(labels=torch.arange(GRID_PATCHES, device=state.device) % max(1, len(state.labels)))
        if state.method.pictured:
            condition = state.batch_of(np.linspace(0, len(state.patches) - 1, GRID_PATCHES).astype(int).tolist())
        moment = Moment(state.images_seen, rng)
        made = state.method.synthesise(state.average, latent, condition, moment)
        values = made.squeeze(1).cpu().numpy()
        sheet = contact_sheet(state.window.from_symmetric(values), state.window)
        save_png(self.out / GRIDS / f"synthetic_{state.images_seen:09d}.png", sheet)

    def save(self) -> None:
        """Write all that a continued run needs, then forget the state before."""
        tensors, found = self.state.tensors(), []
        if self.watch:
            tensors |= {f"{BEST}{name}": tensor for name, tensor in self.watch.best_weights.items()}
            found = [settings.to_json(measurement) for measurement in self.watch.measurements]
        file = self.out / f"training-{self.state.images_seen:09d}.safetensors"
        with new_file(file) as partial:
            save_tensors(partial, tensors)
        manifest = {
            "format": f"{FORMAT}-training",
            "version": VERSION,
            "images_seen": self.state.images_seen,
            "quality": found,
        }
        write_json(self.out / STATE, manifest | self._identity() | {"files": describe_file(file)})
        for older in self.out.glob("training-*.safetensors"):
            if older != file:
                older.unlink()

    def restore(self) -> None:
        """Take up the state in the folder.

        Raises
        ------
        StorageError
            It is damaged, or the state of another training.
        """
        manifest = read_json(self.out / STATE, of="a training")
        for key, value in self._identity().items():
            if manifest.get(key) != value:
                raise StorageError(
                    f"{self.out} holds a training with other {key}: choose another folder, or use the same."
                )
        check_files(self.out, manifest["files"])
        (name,) = manifest["files"]
        tensors = load_tensors(self.out / name, self.state.device)
        self.state.restore(tensors, images_seen=manifest["images_seen"])
        if self.watch and manifest["quality"]:
            best = {key.removeprefix(BEST): tensor for key, tensor in tensors.items() if key.startswith(BEST)}
            self.watch.restore(manifest["quality"], best)
            self._write_quality(self.watch)
        # Rows that a killed run wrote after its last saved state will be written again.
        rows = read_log(self.out) if (self.out / LOG).exists() else []
        self.rows = [row for row in rows if row["images_seen"] <= self.state.images_seen]
        self._write_log()

    def finish(self) -> None:
        """Write the checkpoint: the averaged generator, the best if that is known, and what it is."""
        state, watch = self.state, self.watch
        with new_file(self.out / WEIGHTS) as partial:
            save_tensors(partial, watch.best_weights if watch else state.average.state_dict())
        subject = _subject(state)
        if watch:
            subject = replace(subject, exposure=subject.exposure | watch.validation.exposure.judged)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "images_seen": watch.best.images_seen if watch else state.images_seen,
            "subject": subject.to_json(),
            "files": describe_file(self.out / WEIGHTS),
            **self._identity(),
        }
        chosen = {"choice": watch.choice} if watch else {}
        write_json(self.out / MANIFEST, manifest | chosen | {"id": identify(manifest)})

    def _identity(self) -> dict[str, Any]:
        state = self.state
        plan = settings.to_json(state.plan)
        return {
            "method": registry.name_of(state.method),
            "settings": settings.to_json(state.method),
            "training": {key: value for key, value in plan.items() if key != "images"},
            "window": settings.to_json(state.window),
            "patches": state.patches.digest,
            "validation": self.watch and self.watch.validation.digest,
        }


def _left_early(file: Path) -> bool:
    """Whether a training that was killed before its first saved state may have left ``file``."""
    return file.name in {LOG, QUALITY, GRIDS} or file.name.startswith((".", "training-"))


def _subject(state: TrainingState) -> Subject:
    patches = state.patches
    spacing = patches.spacing_mm
    medians = [None if np.isnan(column).all() else float(np.nanmedian(column)) for column in spacing.T]
    ranges = tuple(PlausibleRanges.of(patches, state.window, label=label) for label in state.labels or (None,))
    return Subject(patches.shape, state.window, state.labels, tuple(medians), patches.exposure, ranges)
