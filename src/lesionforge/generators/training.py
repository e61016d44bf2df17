"""The one loop that trains every generative method.

A GAN is networks and losses; everything else is here: the order of the steps, averaging, checkpoints, pictures,
the log, and the watch for numbers that stop being finite. All randomness is derived from the seed and the number
of the batch, so a run that was killed continues to the same result, bit for bit on the same machine.

A run's folder holds ``training.json`` and ``training-N.safetensors`` (all that a continued run needs),
``log.jsonl``, ``grids/synthetic_N.png`` and, when it is finished, the checkpoint (see `generators.checkpoint`).
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lesionforge import registry, settings
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import Window, default_window
from lesionforge.data.patches import Patches
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
from lesionforge.generators.state import TrainingPlan, TrainingState
from lesionforge.networks import choose_device, load_tensors, save_tensors, seeded, torch_generator
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import check_files, describe_file, new_file, read_json, storage_errors, write_json, write_text

STATE = "training.json"
LOG = "log.jsonl"
GRIDS = "grids"
GRID_PATCHES = 64


def train(
    method: GenerativeMethod,
    patches: Patches,
    out: Path | str,
    *,
    plan: TrainingPlan = TrainingPlan(),
    window: Window | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Train ``method`` on ``patches`` and leave a checkpoint in the folder ``out``.

    Parameters
    ----------
    patches
        The training set. The checkpoint, and every sample from it, says that all its patients were seen.
    resume
        Continue what is in ``out``; the patches, the settings and the plan must be the same, save for the
        number of images, which may grow.

    Raises
    ------
    LesionForgeError
        The patches do not fit the method, or there is nothing to learn from.
    StorageError
        ``out`` is taken, holds another training, or the disk refuses.
    TrainingDivergedError
        A loss stopped being finite; the last good state is kept.
    """
    out = Path(out)
    window = window or default_window(patches.unit)
    _check(method, patches, window)
    state = TrainingState(method, patches, window=window, plan=plan, device=choose_device(device))
    run = _Run(state, out)
    run.open(resume=resume)
    total = plan.images or method.epochs * len(patches)
    description = " ".join(["training", registry.name_of(method), *patches.classes])
    with seeded(), progress.work(description, total, unit="images", done=state.images_seen) as advance:
        run.train_until(total, advance)
    return out


def read_log(out: Path) -> list[dict[str, float]]:
    """Return the rows of a training's log: ``images_seen`` and the mean of each loss term since the last row."""
    return [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]


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
    lowest, highest = patches.images.min(), patches.images.max()
    if lowest == highest or highest <= window.low or lowest >= window.high:
        raise LesionForgeError(
            f"patches must differ within the window {window.name} ({window.low:g} to {window.high:g} {window.unit}), "
            f"but all their values lie in {lowest:g} to {highest:g}: choose another window, or look at the source."
        )


@dataclass
class _Run:
    """A training and its folder."""

    state: TrainingState
    out: Path
    rows: list[dict[str, float]] = field(default_factory=list)

    def open(self, *, resume: bool) -> None:
        """Take up what is in the folder if asked to; else it must be empty."""
        out = self.out
        if (out / STATE).exists() and resume:
            self.restore()
        elif resume and out.is_dir() and all(_left_early(file) for file in out.iterdir()):
            (out / LOG).unlink(missing_ok=True)
        elif out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(
                f"{out} must be empty, but it is not: choose another folder, or continue the training there with "
                "--resume."
            )
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)

    def train_until(self, total: int, advance: Callable[[int], None]) -> None:
        """Step until ``total`` images were shown, and write what is due on the way.

        A checkpoint that an earlier, shorter training left stays as it is until this one ends.
        """
        state, plan = self.state, self.state.plan
        due = {
            self.log: plan.log_every_images,
            self.draw_grid: plan.grid_every_images,
            self.save: plan.checkpoint_every_images,
        }
        while state.images_seen < total:
            shown = state.step()
            advance(shown)
            for action, every_images in due.items():
                if state.images_seen >= total or state.images_seen % every_images < shown:
                    self.require_finite()
                    action()
        if not self._is_finished():
            self.finish()

    def _is_finished(self) -> bool:
        try:
            return bool(read_manifest(self.out)["images_seen"] == self.state.images_seen)
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
                "values outside the window, is the usual way out."
            )

    def log(self) -> None:
        """Add the mean loss terms to the log."""
        self.rows.append({"images_seen": self.state.images_seen, **self.state.take_mean_losses()})
        self._write_log()

    def _write_log(self) -> None:
        write_text(self.out / LOG, "".join(json.dumps(row) + "\n" for row in self.rows))

    @torch.no_grad()
    def draw_grid(self) -> None:
        """Save a sheet of samples of the averaged generator, always from the same latent vectors; classes in turn."""
        state = self.state
        rng = torch_generator(state.device, state.plan.seed, "grid")
        latent = state.method.latent(GRID_PATCHES, rng)
        labels = torch.arange(GRID_PATCHES, device=state.device) % max(1, len(state.labels))
        moment = Moment(state.images_seen, rng)
        made = state.method.synthesise(state.average, latent, Condition(labels=labels), moment)
        values = made.squeeze(1).cpu().numpy()
        sheet = contact_sheet(state.window.from_symmetric(values), state.window)
        save_png(self.out / GRIDS / f"synthetic_{state.images_seen:09d}.png", sheet)

    def save(self) -> None:
        """Write all that a continued run needs, then forget the state before."""
        file = self.out / f"training-{self.state.images_seen:09d}.safetensors"
        with new_file(file) as partial:
            save_tensors(partial, self.state.tensors())
        manifest = {"format": f"{FORMAT}-training", "version": VERSION, "images_seen": self.state.images_seen}
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
        self.state.restore(load_tensors(self.out / name, self.state.device), images_seen=manifest["images_seen"])
        # Rows that a killed run wrote after its last saved state will be written again.
        rows = read_log(self.out) if (self.out / LOG).exists() else []
        self.rows = [row for row in rows if row["images_seen"] <= self.state.images_seen]
        self._write_log()

    def finish(self) -> None:
        """Write the checkpoint: the averaged generator, and what it is."""
        with new_file(self.out / WEIGHTS) as partial:
            save_tensors(partial, self.state.average.state_dict())
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "images_seen": self.state.images_seen,
            "subject": _subject(self.state).to_json(),
            "files": describe_file(self.out / WEIGHTS),
            **self._identity(),
        }
        write_json(self.out / MANIFEST, manifest | {"id": identify(manifest)})

    def _identity(self) -> dict[str, Any]:
        state = self.state
        plan = settings.to_json(state.plan)
        return {
            "method": registry.name_of(state.method),
            "settings": settings.to_json(state.method),
            "training": {key: value for key, value in plan.items() if key != "images"},
            "window": settings.to_json(state.window),
            "patches": state.patches.digest,
        }


def _left_early(file: Path) -> bool:
    """Whether a training that was killed before its first saved state may have left ``file``."""
    return file.name in {LOG, GRIDS} or file.name.startswith((".", "training-"))


def _subject(state: TrainingState) -> Subject:
    patches = state.patches
    spacing = patches.spacing_mm
    medians = [None if np.isnan(column).all() else float(np.nanmedian(column)) for column in spacing.T]
    return Subject(patches.shape, state.window, state.labels, tuple(medians), patches.exposure)
