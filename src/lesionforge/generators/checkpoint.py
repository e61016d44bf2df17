"""A generator on disk: weights, and everything that its samples must say of themselves.

A checkpoint is a folder: ``checkpoint.json`` (method and settings, patch size, window, labels, spacing, how many
images were shown, the plausible ranges of what is made, and the exposure: all patients that it was trained on, as
digests) and ``generator.safetensors`` (the averaged generator). While training goes on, ``training-N.safetensors``
beside them holds what a resumed run needs. Its id is a digest of all that, so that neither weights nor exposure can be
exchanged unnoticed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lesionforge import registry, settings, storage
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.errors import StorageError
from lesionforge.generators import methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.networks import load_state, load_tensors
from lesionforge.storage import check_files, digest

FORMAT = "lesionforge-generator"
VERSION = 3
MANIFEST = "checkpoint.json"
WEIGHTS = "generator.safetensors"


@dataclass(frozen=True)
class Subject:
    """What a generator makes: taken from its training set, said by every sample."""

    shape: tuple[int, ...]  # pixels an axis
    window: Window
    labels: tuple[str, ...]  # the classes that can be asked for, sorted; one, or none (of any), if there is no choice
    spacing_mm: tuple[float | None, ...]  # median of the training set, an axis; None where unknown
    exposure: Exposure
    ranges: tuple[PlausibleRanges, ...]  # of the training patches of each class, or of all if none can be asked for

    @property
    def label(self) -> str:
        """The class of whatever is made; empty if it is of any class or can be chosen."""
        return self.labels[0] if len(self.labels) == 1 else ""

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return {**settings.to_json(self), "exposure": self.exposure.to_json()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Subject":
        """Read what `to_json` wrote."""
        return cls(
            tuple(value["shape"]),
            Window(**value["window"]),
            tuple(value["labels"]),
            tuple(value["spacing_mm"]),
            Exposure.from_json(value["exposure"]),
            tuple(settings.from_json(PlausibleRanges, each) for each in value["ranges"]),
        )


@dataclass(frozen=True)
class Checkpoint:
    """A trained generator, opened; `synthesis.sample` draws from it."""

    id: str
    method: GenerativeMethod
    subject: Subject
    images_seen: int
    generator: nn.Module


def identify(manifest: dict[str, Any]) -> str:
    """Return the id of a checkpoint: its method's name, and a digest of all that decides its samples."""
    decisive = {key: manifest[key] for key in ("method", "settings", "training", "subject", "images_seen")}
    return f"{manifest['method']}-{digest([decisive, manifest['files'][WEIGHTS]['sha256']])}"


def read_manifest(path: Path) -> dict[str, Any]:
    """Read and check ``checkpoint.json``; the files it names are checked as well."""
    manifest = storage.read_manifest(path / MANIFEST, of="a generator checkpoint", format_=FORMAT, version=VERSION)
    try:
        check_files(path, manifest["files"])
        if identify(manifest) != manifest["id"]:
            raise StorageError(f"{path / MANIFEST} was changed after it was written: its id does not fit its content.")
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path / MANIFEST} is incomplete ({error!r}): train again.") from error
    return manifest


def load(path: Path | str, *, device: torch.device | str = "cpu") -> Checkpoint:
    """Open a checkpoint for sampling.

    Raises
    ------
    StorageError
        The folder is missing, foreign, cut short, changed, or its weights belong to another method.
    """
    path = Path(path)
    manifest = read_manifest(path)
    method_class = registry.class_named(methods, manifest["method"], GenerativeMethod)  # type: ignore[type-abstract]
    method = settings.from_json(method_class, manifest["settings"])
    subject = Subject.from_json(manifest["subject"])
    generator = method.build(subject.shape, len(subject.labels))["generator"]
    load_state(generator, load_tensors(path / WEIGHTS), of=f"{manifest['method']} in {path}")
    generator = method.place(generator, torch.device(device)).eval().requires_grad_(False)
    return Checkpoint(manifest["id"], method, subject, manifest["images_seen"], generator)
