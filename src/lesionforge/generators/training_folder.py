"""The folder of a training: all that a continued run needs, what is to be looked at, and in the end the checkpoint.

It holds ``training.json`` and ``training-N.safetensors`` (what a continued run needs), ``log.jsonl``,
``grids/synthetic_N.png`` and, when it is finished, the checkpoint (see `generators.checkpoint`). With validation
patients, ``quality.csv`` tells how good the generator was when, and the checkpoint is the best of these (see
`generators.watch`); else it is the last. Of several processes the first alone writes; all read.
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
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.errors import StorageError
from lesionforge.generators.checkpoint import (
    FORMAT,
    MANIFEST,
    VERSION,
    WEIGHTS,
    Subject,
    identify,
    read_manifest,
)
from lesionforge.generators.contract import Condition, Moment
from lesionforge.generators.state import TrainingState
from lesionforge.generators.watch import Watch
from lesionforge.networks import load_tensors, save_tensors, torch_generator
from lesionforge.storage import check_files, describe_file, new_file, read_json, storage_errors, write_json, write_text

STATE = "training.json"
LOG = "log.jsonl"
QUALITY = "quality.csv"
GRIDS = "grids"
GRID_PATCHES = 64
BEST = "best."  # prefixes the weights of the best measurement in a saved state


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


@dataclass
class TrainingFolder:
    """Writes what a training has come to, and takes it up again."""

    out: Path
    state: TrainingState
    watch: Watch | None
    rows: list[dict[str, float]] = field(default_factory=list)

    def open(self, *, resume: bool) -> bool:
        """Make the folder, or look into it; return whether there is a state to take up.

        Raises
        ------
        StorageError
            It is taken, or the disk refuses.
        """
        out = self.out
        found = resume and (out / STATE).exists()
        if resume and not found and out.is_dir() and all(_left_early(file) for file in out.iterdir()):
            for file in (LOG, QUALITY):
                (out / file).unlink(missing_ok=True)
        elif not found and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(
                f"{out} must be empty, but it is not: choose another folder, or continue the training there with "
                "--resume."
            )
        with storage_errors(out):
            out.mkdir(parents=True, exist_ok=True)
        return found

    @property
    def is_finished(self) -> bool:
        """Whether the checkpoint there is of this very state."""
        try:
            manifest = read_manifest(self.out)
            trained = manifest.get("choice", {}).get("images_trained", manifest["images_seen"])
            return bool(trained == self.state.images_seen)
        except StorageError:  # there is none, or a kill came between its two files
            return False

    @property
    def kept(self) -> str:
        """What is there to go back to, in words."""
        if (self.out / STATE).exists():
            return f"the state at {read_json(self.out / STATE, of='a training')['images_seen']:,} images is kept"
        return "no earlier state had been kept"

    def write_quality(self) -> None:
        """Write what the watch has found."""
        if self.watch:
            write_text(self.out / QUALITY, self.watch.table().to_csv(index=False))

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

    def forget_what_came_later(self) -> None:
        """Drop the rows that a killed run wrote after its last saved state: they will be written again."""
        rows = read_log(self.out) if (self.out / LOG).exists() else []
        self.rows = [row for row in rows if row["images_seen"] <= self.state.images_seen]
        self._write_log()
        if self.watch and self.watch.measurements:
            self.write_quality()

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
