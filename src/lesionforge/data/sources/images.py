"""Folders of gray pictures (PNG, JPEG, TIFF): the folder below the first names the class.

``root/benign/0001-a.png`` shows a benign lesion; pictures right in ``root`` are unlabelled. Whose they are only their
names can say. Nothing is ever resized: that would change what a pixel measures.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.picture_file import PICTURE_SUFFIXES, read_picture
from lesionforge.data.hounsfield import AIR_HU, as_stored
from lesionforge.data.patches import Patches
from lesionforge.data.source import PatchSource, Skip, counted
from lesionforge.data.sources.medmnist import NO_PATIENTS
from lesionforge.errors import LesionForgeError, UnfitDataError
from lesionforge.progress import SILENT, Progress


@dataclass(frozen=True)
class Images(PatchSource):
    """A folder of pictures.

    Parameters
    ----------
    patient
        Regular expression with a group ``patient``, looked for in each path below the folder (with ``/`` between
        names): ``(?P<patient>[^/]+)/[^/]+$`` takes the folder that a picture lies in, ``(?P<patient>[^/_]+)_[^/]*$``
        its name up to the last ``_``. Empty: each picture counts as a patient of its own.
    masks
        Folder, from the first one on, with a mask for each picture: the same path, any suffix; 0 is outside the lesion.
    size
        Pixels (y, x) to which pictures are cropped, or padded with air, around their centre. Empty: all have one size.
    hu
        Slope and intercept with HU = slope · pixel + intercept, where they are known. Empty: 8-bit pictures whose
        Hounsfield scale is lost (unit ``u8``).
    spacing_mm
        Between pixels: one number, or two (y, x). Empty: unknown.
    """

    precedence: ClassVar[int] = -10
    patient: str = ""
    masks: str = ""
    size: tuple[int, ...] = ()
    hu: tuple[float, ...] = ()
    spacing_mm: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.size) not in (0, 2) or any(pixels < 1 for pixels in self.size):
            raise LesionForgeError(f"size must be two numbers of pixels (y, x), but {self.size} came.")
        if len(self.hu) not in (0, 2) or not np.isfinite(self.hu).all() or 0 in self.hu[:1]:
            raise LesionForgeError(f"hu must be a slope, which is not 0, and an intercept, but {self.hu} came.")
        try:
            groups = re.compile(self.patient).groupindex
        except re.error as error:
            raise LesionForgeError(f"patient must be a regular expression, but {self.patient!r}: {error}.") from None
        if self.patient and "patient" not in groups:
            raise LesionForgeError(f"patient must have a group (?P<patient>…), but {self.patient!r} has none.")

    @classmethod
    def recognise(cls, path: Path) -> str:
        """Recognise a folder with pictures somewhere below it."""
        count = len(_pictures(path)) if path.is_dir() else 0
        return f"{count} pictures" if count else ""

    def patches(self, path: Path, *, progress: Progress = SILENT) -> Patches:
        """Read the pictures that can be used: see `read`."""
        return self.read(path, progress=progress)[0]

    def read(self, path: Path, *, progress: Progress = SILENT) -> tuple[Patches, Sequence[Skip]]:
        """Read the pictures; those that cannot be used are left out, and how many for what reason is told.

        Raises
        ------
        LesionForgeError
            None can be used, they differ in size and no ``size`` is set, ``patient`` does not fit a path, or ``masks``
            is no folder.
        """
        if not path.is_dir():
            raise LesionForgeError(f"{path} must be a folder of pictures, but is none.")
        folder = self._masks_folder(path)
        files = [file for file in _pictures(path) if folder is None or not file.is_relative_to(folder)]
        names = [_printable(file.relative_to(path).as_posix()) for file in files]
        patients = self._patients(names)
        masks = None if folder is None else _Masks(path, folder)
        skipped: list[Skip] = []
        kept, pixels, marks = self._usable(files, masks, progress, skipped)
        if not self.patient:
            progress.say(NO_PATIENTS)
        patches = Patches.of(
            np.stack(pixels),
            patient=[patients[i] for i in kept],
            scan=[names[i] for i in kept],
            label=[names[i].split("/")[0] if "/" in names[i] else "" for i in kept],
            spacing_mm=self.spacing_mm or np.nan,
            masks=None if masks is None else np.stack(marks),
            unit="HU" if self.hu else "u8",
        )
        return patches, skipped

    def _masks_folder(self, path: Path) -> Path | None:
        masks = path / self.masks
        if self.masks and not (masks.is_dir() and masks.resolve() != path.resolve()):
            raise LesionForgeError(f"masks must name a folder of {path} with the masks alone, but {masks} is none.")
        return masks if self.masks else None

    def _patients(self, names: Sequence[str]) -> Sequence[str]:
        if not self.patient:
            return names
        found = [re.search(self.patient, name) for name in names]
        patients = [match["patient"] if match else "" for match in found]
        if unknown := [name for name, patient in zip(names, patients, strict=True) if not patient]:
            raise LesionForgeError(
                f"patient must find one in every path, but {self.patient!r} finds none in {len(unknown)} of "
                f"{len(names)}, the first is {unknown[0]}."
            )
        return patients

    def _usable(
        self, files: Sequence[Path], masks: "_Masks | None", progress: Progress, skipped: list[Skip]
    ) -> tuple[list[int], list[NDArray[Any]], list[NDArray[np.uint8]]]:
        """Return which files can be used, their pictures and masks if there are; the others go into ``skipped``."""
        kept, pixels, marks = list[int](), list[NDArray[Any]](), list[NDArray[np.uint8]]()
        with progress.work("pictures", len(files), unit="files") as advance:
            for number, file in enumerate(files):
                advance(1)
                try:
                    picture = self._in_unit(read_picture(file), file)
                    mask = None if masks is None else masks.of(file, picture.shape)
                except UnfitDataError as error:
                    skipped.append(Skip.because(str(file), error))
                    continue
                kept.append(number)
                pixels.append(self._sized(picture, fill=AIR_HU if self.hu else 0))
                marks += [] if mask is None else [self._sized(mask, fill=0)]
                _check_size(file, pixels)
        if not kept:
            why = skipped[0].message if skipped else f"their names must end in {', '.join(PICTURE_SUFFIXES)}."
            raise LesionForgeError(f"there must be a picture that can be used, but of {len(files)} none can: {why}")
        for reason, count in counted(skipped).items():
            progress.say(f"{count} of {len(files)} pictures left out: {reason}")
        return kept, pixels, marks

    def _in_unit(self, values: NDArray[Any], file: Path) -> NDArray[Any]:
        if self.hu:
            slope, intercept = self.hu
            return as_stored(values.astype(np.float64) * slope + intercept)
        if values.dtype != np.uint8:
            message = f"{file} must have 8 bits, but has more: say with `hu` which HU its values mean."
            raise UnfitDataError("more than 8 bits and no `hu`", message)
        return values

    def _sized(self, picture: NDArray[Any], *, fill: float) -> NDArray[Any]:
        """Crop and pad the picture around its centre, pixel n // 2, if ``size`` is set."""
        if not self.size:
            return picture
        before = [wanted // 2 - n // 2 for wanted, n in zip(self.size, picture.shape, strict=True)]
        around = [(max(0, b), max(0, s - b - n)) for b, s, n in zip(before, self.size, picture.shape, strict=True)]
        window = tuple(slice(max(0, -b), max(0, -b) + s) for b, s in zip(before, self.size, strict=True))
        return np.pad(picture, around, constant_values=fill)[window]


class _Masks:
    """The masks in ``folder`` for the pictures in ``path``: each has its picture's path, with any suffix."""

    def __init__(self, path: Path, folder: Path) -> None:
        self._path = path
        self._of = {mask.relative_to(folder).with_suffix(""): mask for mask in _pictures(folder)}

    def of(self, file: Path, shape: Sequence[int]) -> NDArray[np.uint8]:
        """Mask [y, x] of a picture of this ``shape``; raise UnfitDataError if there is none that fits."""
        mask = self._of.get(file.relative_to(self._path).with_suffix(""))
        if mask is None:
            raise UnfitDataError("no mask", f"{file} must have a mask of its name, but has none.")
        values = read_picture(mask)
        if values.shape != tuple(shape):
            message = f"{mask} must have its picture's {tuple(shape)} pixels, but has {values.shape}."
            raise UnfitDataError("mask of another size", message)
        if len(np.unique(values[values != 0])) > 1:
            message = f"{mask} must hold 0 and one other value, but holds more: choose one lesion's, save it as PNG."
            raise UnfitDataError("mask of several values", message)
        inside: NDArray[np.uint8] = (values != 0).astype(np.uint8)
        return inside


def _pictures(path: Path) -> list[Path]:
    """Files that are named like pictures; hidden ones (``._a.png``) are notes of the system."""
    return [
        file for file in files_below(path) if file.suffix.lower() in PICTURE_SUFFIXES and not file.name.startswith(".")
    ]


def _printable(text: str) -> str:
    """Write what cannot be printed, such as bytes of a name that are no UTF-8, as escapes."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _check_size(file: Path, pixels: Sequence[NDArray[Any]]) -> None:
    if pixels[-1].shape != pixels[0].shape:
        raise LesionForgeError(
            f"all pictures must have one size, but {file} has {pixels[-1].shape} and others {pixels[0].shape} (y, x): "
            "set `size` to crop and pad them around their centres."
        )
