"""MedMNIST: pictures of 28 to 224 pixels, or cubes, with a class each, in one ``.npz`` file.

Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image classification",
Scientific Data 10:41 (2023). The sets from CT are known by their file's name; any other of gray pictures with one
class each is read too. The pictures are 8 bit: their Hounsfield scale is lost.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.formats.npz_file import array_names, read_arrays
from lesionforge.data.patches import Patches
from lesionforge.data.source import PatchSource
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import safe_name

SPLITS = ("train", "val", "test")
KEYS = tuple(f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels"))
NO_PATIENTS = (
    "warning: no patient is known, so each picture counts as a patient of its own: pictures of one person can come to "
    "lie on both sides of a split, and scores are too good then."
)
ORGANS = (
    *("bladder", "femur-left", "femur-right", "heart", "kidney-left", "kidney-right", "liver", "lung-left"),
    *("lung-right", "pancreas", "spleen"),
)
KNOWN = {  # classes by number
    "organamnist": ORGANS,
    "organcmnist": ORGANS,
    "organsmnist": ORGANS,
    "organmnist3d": (
        *("liver", "kidney-right", "kidney-left", "femur-right", "femur-left", "bladder", "heart", "lung-right"),
        *("lung-left", "spleen", "pancreas"),
    ),
    "nodulemnist3d": ("benign", "malignant"),
    "adrenalmnist3d": ("normal", "hyperplasia"),
    "fracturemnist3d": ("buckle rib fracture", "nondisplaced rib fracture", "displaced rib fracture"),
    "vesselmnist3d": ("vessel", "aneurysm"),
}


@dataclass(frozen=True)
class MedMnist(PatchSource):
    """A MedMNIST file.

    Its own division stays as the column ``split`` (train, val, test).

    Parameters
    ----------
    classes
        Names of the classes 0, 1, …; empty: those of the set that the file is named after, else the numbers.
    spacing_mm
        Between pixels: one number, or one an axis. The files do not say it, most pictures were resized; empty: unknown.
    """

    precedence: ClassVar[int] = 10
    classes: tuple[str, ...] = ()
    spacing_mm: tuple[float, ...] = ()

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Recognise a file, or a folder with one in it."""
        try:
            file = _file(path)
        except LesionForgeError:
            return ""
        return f"MedMNIST arrays in {file.name}"

    def patches(self, path: Path, *, progress: Progress = SILENT) -> Patches:
        """Read all three splits.

        Raises
        ------
        LesionForgeError
            The file is cut short or too large, the pictures are in colour or have several classes at once, or the
            numbers of the classes do not fit their names.
        """
        file = _file(path)
        arrays = read_arrays(file, KEYS)
        images = np.concatenate([_images(arrays, split) for split in SPLITS])
        numbers = np.concatenate([_numbers(arrays, split) for split in SPLITS])
        counts = [len(arrays[f"{split}_images"]) for split in SPLITS]
        if images.max() <= 1:
            progress.say("pixels of 0 and 1 are shapes: 1 was made 255")
            images *= 255
        progress.say(NO_PATIENTS)
        numbered = [f"{split}-{number}" for split, count in zip(SPLITS, counts, strict=True) for number in range(count)]
        return Patches.of(
            images,
            patient=[f"{safe_name(file.stem)}-{picture}" for picture in numbered],
            label=self._labels(file, numbers),
            spacing_mm=self.spacing_mm or np.nan,
            unit="u8",
            split=np.repeat(SPLITS, counts).tolist(),
        )

    def _labels(self, file: Path, numbers: NDArray[np.int64]) -> list[str]:
        names = self.classes or KNOWN.get(re.sub(r"_\d+$", "", file.stem.lower()), ())
        if not names and numbers.min() >= 0:
            return [str(number) for number in numbers]
        if numbers.min() < 0 or numbers.max() >= len(names):
            raise LesionForgeError(
                f"labels in {file} must be 0 to {max(len(names) - 1, 0)} ({', '.join(names)}), but go from "
                f"{numbers.min()} to {numbers.max()}: name every class with the setting `classes`."
            )
        return [names[number] for number in numbers]


def _file(path: Path) -> Path:
    """Return the MedMNIST file at ``path``, which may be its folder."""
    files = sorted(path.glob("*.npz")) if path.is_dir() else [path]
    fitting = [file for file in files if array_names(file).issuperset(KEYS)]
    if len(fitting) != 1:
        raise LesionForgeError(
            f"{path} must be one MedMNIST file (.npz with {', '.join(KEYS)}), or a folder with one, but {len(fitting)} "
            "are there."
        )
    return fitting[0]


def _images(arrays: dict[str, NDArray[Any]], split: str) -> NDArray[np.uint8]:
    images, train = arrays[f"{split}_images"], arrays["train_images"]
    if images.dtype not in (np.uint8, np.bool_):
        raise LesionForgeError(f"{split}_images must be 8 bit, but are {images.dtype}.")
    if images.ndim == 4 and images.shape[-1] == 3 != images.shape[1]:
        raise LesionForgeError(
            f"{split}_images are in colour {images.shape}: LesionForge works on CT, which is gray. The sets "
            f"from CT are {', '.join(sorted(KNOWN))}."
        )
    if images.ndim not in (3, 4) or 0 in images.shape or images.shape[1:] != train.shape[1:]:
        raise LesionForgeError(
            f"{split}_images must have shape [N, y, x] or [N, z, y, x], all alike, but have {images.shape}."
        )
    return images.astype(np.uint8)


def _numbers(arrays: dict[str, NDArray[Any]], split: str) -> NDArray[np.int64]:
    """Class number of each image of a split, [N]."""
    labels, count = arrays[f"{split}_labels"], len(arrays[f"{split}_images"])
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise LesionForgeError(
            f"{split}_labels give {labels.shape[1]} classes to an image at once, of which LesionForge takes one: "
            "choose a set with one class an image."
        )
    if labels.shape not in ((count,), (count, 1)) or labels.dtype.kind not in "iub":
        raise LesionForgeError(
            f"{split}_labels must be one whole number for each of {count} images, but are {labels.dtype} "
            f"{labels.shape}."
        )
    return labels.reshape(count).astype(np.int64)
