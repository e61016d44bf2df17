"""Volumes in one file: NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) and MetaImage (.mha, .mhd).

A file is foreign: its size is compared with its length before anything is allocated, and a header that keeps its
voxels in another file may only name one beside it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from lesionforge.data.formats import nifti
from lesionforge.data.formats.file_tree import file_inside
from lesionforge.data.geometry import Direction, Geometry
from lesionforge.data.scan import Scan
from lesionforge.data.synthetic_scans import Synthetic, made_by
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError
from lesionforge.storage import new_file

sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters of its warnings is an error here

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
NIFTI = (".nii.gz", ".nii")
WRITTEN = (".nii.gz", ".nii", ".nrrd", ".mha")
READERS = {".nrrd": "NrrdImageIO", ".nhdr": "NrrdImageIO", ".mha": "MetaImageIO", ".mhd": "MetaImageIO"}
MOST_VOXELS = 2**30  # 1024 × 1024 × 1024
MOST_DEFLATED = 1032  # no byte of a gzip or zlib file holds more (zlib's technical details)
LONGEST_HEADER = 2**16
SYNTHETIC = "SYNTHETIC, by LesionForge"  # as a NIfTI file says it
LOCAL = "LOCAL"  # what a MetaImage says where the voxels follow the header
FIELD = re.compile(rb"[ \t]*(\w[\w ]*?)[ \t]*(?::=|[:=])[ \t]*(.*?)[ \t\r]*")
ANATOMICAL = "left-posterior-superior"  # what ITK calls an NRRD whose space has names that it knows


def suffix_of(path: Path) -> str:
    """Return how the file's name says that it is a volume (``".nii.gz"``); empty: it does not."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix) and name != suffix), "")


def read_volume(path: Path, *, patient: str, name: str, unit: str = "HU") -> Scan:
    """Read a scan, canonical. Integers stay as they are stored, other numbers become float32.

    Raises
    ------
    UnfitDataError
        The file is not whole, not a right-angled volume of finite numbers, does not say how it lies in the patient,
        or cannot be in HU where ``unit`` says so.
    """
    synthetic = how_made(path)
    voxels, geometry = read_voxels(path)
    if unit == "HU":
        _check_hu(path, voxels)
    return Scan(voxels, geometry, patient=patient, name=name, unit=unit, synthetic=synthetic).canonical()


def how_made(path: Path) -> Synthetic | None:
    """Return what the record beside a volume says that LesionForge has made; None: nothing says that it is synthetic.

    Raises
    ------
    UnfitDataError
        It is synthetic, but there is no record.
    """
    marked = suffix_of(path) in NIFTI and _nifti_header(path).description.startswith(SYNTHETIC)
    return made_by(path) if marked else None


@np.errstate(invalid="ignore", over="ignore")  # voxels that are not finite are refused
def read_voxels(path: Path) -> tuple[NDArray[Any], Geometry]:
    """Read voxels [z, y, x] and geometry as they are stored, not canonical; raises as `read_volume` does."""
    path = Path(path)
    _check_exists(path)
    if suffix_of(path) in NIFTI:
        header = _nifti_header(path)
        voxels, geometry = nifti.read_voxels(path, header), header.geometry
    else:
        reader = _itk_reader(path)
        try:
            voxels, geometry = from_sitk(reader.Execute())
        except RuntimeError:
            raise _broken(path) from None
    if voxels.dtype.kind == "f":
        voxels = voxels.astype(np.float32, copy=False)
        if not np.isfinite(voxels).all():
            raise UnfitDataError(
                "voxels not finite", f"{path} must hold finite numbers, but has NaN or infinity: fill them with air."
            )
    return voxels, geometry


def read_geometry(path: Path) -> Geometry:
    """Read the header alone: the canonical geometry; raises as `read_volume` does."""
    return stored_geometry(path).reordered()[0]


def stored_geometry(path: Path) -> Geometry:
    """Read the header alone: the geometry of the voxels as they are stored; raises as `read_volume` does."""
    path = Path(path)
    _check_exists(path)
    if suffix_of(path) in NIFTI:
        return _nifti_header(path).geometry
    return _itk_geometry(path, _itk_reader(path))


def write_volume(path: Path, voxels: NDArray[Any], geometry: Geometry, *, synthetic: bool = False) -> None:
    """Write voxels [z, y, x] in one step; the name's ending chooses the format. NIfTI can say that it is synthetic.

    Raises
    ------
    LesionForgeError
        The name ends in none of the formats that are one file.
    StorageError
        The disk refuses.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix not in WRITTEN:
        raise LesionForgeError(f"a volume's file must end in {', '.join(WRITTEN)}, but {path.name!r} came.")
    stored = _storable(voxels, geometry)
    with new_file(path) as partial:
        if suffix in NIFTI:
            about = SYNTHETIC if synthetic else ""
            nifti.write(partial, stored, geometry, compressed=suffix == ".nii.gz", description=about)
            return
        try:
            sitk.WriteImage(to_sitk(stored, geometry), str(partial), useCompression=True)
        except RuntimeError:
            raise StorageError(f"{path} cannot be written: is the disk full?") from None


def to_sitk(voxels: NDArray[Any], geometry: Geometry) -> sitk.Image:
    """Make SimpleITK's image of voxels [z, y, x]; true and false become 1 and 0."""
    image = sitk.GetImageFromArray(_storable(voxels, geometry))
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin_mm)
    image.SetDirection(np.asarray(geometry.direction)[::-1].T.ravel().tolist())
    return image


def from_sitk(image: sitk.Image) -> tuple[NDArray[Any], Geometry]:
    """Voxels [z, y, x] and geometry of SimpleITK's image."""
    return sitk.GetArrayFromImage(image), _geometry(image)


def _storable(voxels: NDArray[Any], geometry: Geometry) -> NDArray[Any]:
    if voxels.shape != geometry.shape:
        raise LesionForgeError(f"voxels of {voxels.shape} do not fill a grid of {geometry.shape}.")
    return voxels.astype(np.uint8) if voxels.dtype == bool else voxels


def _geometry(image: Any) -> Geometry:  # or a file reader, which has the same methods
    columns = np.asarray(image.GetDirection()).reshape(3, 3).T.tolist()
    x, y, z = (tuple(column) for column in columns)
    direction: Direction = (z, y, x)
    return Geometry(image.GetSize()[::-1], image.GetSpacing()[::-1], image.GetOrigin(), direction)


def _nifti_header(path: Path) -> nifti.NiftiHeader:
    header = nifti.read_header(path)
    most = path.stat().st_size * MOST_DEFLATED
    _check_size(path, header.geometry.shape, needed=header.voxel_bytes, available=most)
    return header


def _itk_reader(path: Path) -> sitk.ImageFileReader:
    """Open the header of an NRRD or MetaImage file and check that all it says can be followed."""
    if not suffix_of(path):
        raise LesionForgeError(f"a volume's file must end in {', '.join(SUFFIXES)}, but {path.name!r} came.")
    header = _TextHeader.of(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO(READERS[suffix_of(path)])  # never guessed: a foreign file could choose any reader
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError:
        raise _broken(path) from None
    if reader.GetDimension() != 3:
        raise UnfitDataError(
            "not a 3-D volume",
            f"{path} must hold one volume with axes x, y and z, but has {reader.GetDimension()} axes.",
        )
    if reader.GetNumberOfComponents() != 1:
        raise UnfitDataError(
            "voxels are no real numbers",
            f"{path} must hold one real number for each voxel, but holds {reader.GetNumberOfComponents()} "
            "(colours, vectors or complex numbers): choose one channel.",
        )
    _itk_geometry(path, reader)
    item = sitk.Image((1, 1, 1), reader.GetPixelID()).GetSizeOfPixelComponent()
    shape = reader.GetSize()[::-1]
    there = header.data.stat().st_size - header.skipped
    available = there * (1 if header.raw else MOST_DEFLATED) if there >= header.compressed else 0
    _check_size(path, shape, needed=int(np.prod(shape, dtype=object)) * item, available=available)
    return reader


def _itk_geometry(path: Path, reader: sitk.ImageFileReader) -> Geometry:
    known = reader.HasMetaDataKey("NRRD_space") and reader.GetMetaData("NRRD_space") == ANATOMICAL
    if READERS[suffix_of(path)] == "NrrdImageIO" and not known:
        raise UnfitDataError(
            "orientation unknown",
            f"{path} must say how it lies in the patient, as `space: left-posterior-superior`, but does not.",
        )
    try:
        return _geometry(reader)
    except LesionForgeError as error:
        raise UnfitDataError("geometry unfit", f"{path}: {error}") from None


@dataclass(frozen=True)
class _TextHeader:
    """What must be known of a text header before ITK follows it: where the voxels are, and whether uncompressed."""

    data: Path
    skipped: int  # bytes of ``data`` before the voxels
    raw: bool
    compressed: int = 0  # bytes of voxels that the header promises, where it does

    @classmethod
    def of(cls, path: Path) -> "_TextHeader":
        with path.open("rb") as stream:
            start = stream.read(LONGEST_HEADER)
        fields: dict[str, str] = {}
        length = 0
        for line in start.split(b"\n"):
            length += len(line) + 1
            if found := FIELD.fullmatch(line):
                name, value = (part.decode("latin-1") for part in found.groups())
                fields.setdefault(name.replace(" ", "").lower(), value)
            if not line.strip() or line.lstrip().startswith(b"ElementDataFile"):
                break  # the voxels may follow
        if suffix_of(path) in (".nrrd", ".nhdr"):
            name, raw = fields.get("datafile", LOCAL), fields.get("encoding", "").lower() == "raw"
        elif not {"elementspacing", "elementsize"} & set(fields) or "elementdatafile" not in fields:
            raise UnfitDataError(
                "header incomplete", f"{path} must say ElementSpacing and ElementDataFile in its header, but does not."
            )
        else:
            name = fields["elementdatafile"]
            raw = fields.get("compresseddata", "F")[:1] in "Ff0" and fields.get("binarydata", "T")[:1] in "Tt1"
        here = name.upper() == LOCAL
        promised = fields.get("compresseddatasize", "")
        return cls(
            data=path if here else _beside(path, name),
            skipped=length if here else 0,
            raw=raw,
            compressed=int(promised) if promised.isdecimal() else 0,
        )


def _beside(header: Path, name: str) -> Path:
    """Return the file that holds the voxels; refuse one outside the header's folder, and lists of files."""
    if name.upper().startswith("LIST") or "%" in name:
        raise UnfitDataError(
            "voxels in several files", f"{header} must keep its voxels in one file: convert it to .mha."
        )
    data = file_inside(header.parent, name)
    if data is None:
        raise UnfitDataError(
            "voxels outside the folder",
            f"{header} must keep its voxels beside it, but names a file elsewhere.",
        )
    if not data.is_file():
        raise UnfitDataError("voxels missing", f"{data}, which {header.name} names for its voxels, is missing.")
    return data


def _check_exists(path: Path) -> None:
    if not path.is_file():
        raise UnfitDataError("file missing", f"{path} must be a file, but is not there.")


def _check_size(path: Path, shape: tuple[int, ...], *, needed: int, available: int) -> None:
    """Compare the size that a header says with the bytes there are, before memory is asked for."""
    if int(np.prod(shape, dtype=object)) > MOST_VOXELS:
        raise UnfitDataError("too large", f"{path} may have at most {MOST_VOXELS} voxels, but its header says {shape}.")
    if needed > available:
        raise UnfitDataError(
            "file cut short", f"{path} is too short for the {shape} voxels of its header: copy or export it again."
        )


def _check_hu(path: Path, voxels: NDArray[Any]) -> None:
    """Refuse what is stored without its HU scale, which would be wrong without a word."""
    low, high = float(voxels.min()), float(voxels.max())
    if low >= 0 or (-1 <= low < high <= 1):
        raise UnfitDataError(
            "not in HU",
            f"{path} must be in HU, but its voxels lie between {low:g} and {high:g}, as if without their scale: "
            "export it in HU, or name its own unit.",
        )


def _broken(path: Path) -> UnfitDataError:
    return UnfitDataError("file unreadable", f"{path} cannot be read: it is cut short, damaged or of another format.")
