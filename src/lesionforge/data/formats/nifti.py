"""NIfTI-1 files (.nii, .nii.gz), read strictly and written whole.

The format (Cox et al. 2004) is 348 bytes of header and then the voxels, x fastest. It is read here because common
readers repair what they should refuse: ITK fills a file that was cut short with 0 HU, turns NaN into 0 HU and a
spacing of 0 into 1 mm, and takes one of two stated positions without a word; and on a full disk it writes half a file
as if all were well. NIfTI's x runs to the right and its y to the front (RAS), ours to the left and to the back.
"""

import gzip
import zlib
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from lesionforge.data.geometry import Direction, Geometry, Index, Point
from lesionforge.errors import LesionForgeError, UnfitDataError

HEADER = np.dtype(
    [
        ("sizeof_hdr", "i4"),
        ("unused", "S36"),
        ("dim", "i2", 8),
        ("intent", "S14"),
        ("datatype", "i2"),
        ("bitpix", "i2"),
        ("slice_start", "i2"),
        ("pixdim", "f4", 8),
        ("vox_offset", "f4"),
        ("scl_slope", "f4"),
        ("scl_inter", "f4"),
        ("slice_end", "i2"),
        ("slice_code", "u1"),
        ("xyzt_units", "u1"),
        ("displayed", "S24"),
        ("description", "S80"),
        ("auxiliary", "S24"),
        ("qform_code", "i2"),
        ("sform_code", "i2"),
        ("quatern", "f4", 3),
        ("qoffset", "f4", 3),
        ("srow", "f4", (3, 4)),
        ("intent_name", "S16"),
        ("magic", "S4"),
    ]
)
TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # unknown units are taken for mm, as everywhere
ORDERS: tuple[Literal["<", ">"], ...] = ("<", ">")
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
FIRST_VOXEL = 352  # after four bytes that say that no extension of the header follows
COMPRESSION = 1  # CT is mostly noise: the default's 6 saves 2 % and takes three times as long
AGREE_WITHIN_VOXELS = 0.1
FURTHEST_MM = 1e5  # of a voxel from the origin: no scanner is longer


@dataclass(frozen=True)
class NiftiHeader:
    """What a header says: the grid as stored, and how stored numbers become values."""

    geometry: Geometry
    dtype: np.dtype[np.generic]
    offset: int
    slope: float
    intercept: float
    description: str = ""

    @property
    def voxel_bytes(self) -> int:
        """Length of the voxels, not compressed."""
        return int(np.prod(self.geometry.shape, dtype=np.int64)) * self.dtype.itemsize


def read_header(path: Path) -> NiftiHeader:
    """Read the header alone.

    Raises
    ------
    UnfitDataError
        It is no NIfTI-1 header, or one of something other than a right-angled volume of numbers.
    """
    with _opened(path) as stream:
        return _header(path, _read(path, stream, HEADER.itemsize))


def read_voxels(path: Path, header: NiftiHeader) -> NDArray[np.generic]:
    """Read the voxels, [z, y, x] as stored: whole numbers stay so where slope and intercept are whole.

    Raises
    ------
    UnfitDataError
        The file is cut short or damaged.
    """
    with _opened(path) as stream:
        _read(path, stream, header.offset)
        content = _read(path, stream, header.voxel_bytes)
        _read_to_end(path, stream)
    stored = np.frombuffer(content, dtype=header.dtype).reshape(header.geometry.shape)
    stored = stored.astype(header.dtype.newbyteorder("="), copy=False)
    if (header.slope, header.intercept) == (1, 0):
        return stored
    scaled = stored * np.float64(header.slope) + np.float64(header.intercept)
    whole = stored.dtype.kind in "iu" and header.slope.is_integer() and header.intercept.is_integer()
    return _whole(scaled) if whole else scaled


def write(path: Path, voxels: NDArray[Any], geometry: Geometry, *, compressed: bool, description: str = "") -> None:
    """Write voxels [z, y, x]; the same voxels give the same bytes. Of a description 79 ASCII characters are kept.

    Raises
    ------
    LesionForgeError
        NIfTI has no such numbers, or no place for so many voxels along an axis.
    """
    kind = next((code for code, name in TYPES.items() if voxels.dtype.newbyteorder("=") == np.dtype(name)), None)
    if kind is None or max(voxels.shape) > np.iinfo(np.int16).max:
        raise LesionForgeError(f"NIfTI cannot hold voxels of {voxels.dtype} and {voxels.shape}: convert or cut them.")
    raw = np.zeros((), dtype=HEADER.newbyteorder("<"))
    z, y, x = voxels.shape
    raw["description"] = description.encode("ascii", "replace")[:79]
    raw["sizeof_hdr"], raw["magic"], raw["vox_offset"] = HEADER.itemsize, b"n+1", FIRST_VOXEL
    raw["dim"] = (3, x, y, z, 1, 1, 1, 1)
    raw["datatype"], raw["bitpix"], raw["scl_slope"], raw["xyzt_units"] = kind, 8 * voxels.dtype.itemsize, 1, 2
    axes = RAS_TO_LPS @ np.asarray(geometry.direction)[::-1].T  # columns: along x, y and z of the array
    spacing, origin = np.array(geometry.spacing_mm[::-1]), RAS_TO_LPS @ geometry.origin_mm
    handed = np.sign(np.linalg.det(axes))  # a quaternion turns but does not mirror: that is pixdim[0]'s
    raw["pixdim"] = (handed, *spacing, 1, 1, 1, 1)
    raw["srow"] = np.column_stack((axes * spacing, origin))
    raw["quatern"] = Rotation.from_matrix(axes * (1, 1, handed)).as_quat(canonical=True)[:3]
    raw["qoffset"], raw["sform_code"], raw["qform_code"] = origin, 1, 1
    stored = np.ascontiguousarray(voxels, dtype=voxels.dtype.newbyteorder("<"))
    with path.open("wb") as file, _compressing(file) if compressed else nullcontext(file) as stream:
        stream.write(raw.tobytes().ljust(FIRST_VOXEL, b"\0"))
        stream.write(stored.data)


def _compressing(file: BinaryIO) -> gzip.GzipFile:
    return gzip.GzipFile("", "wb", COMPRESSION, file, mtime=0)  # with neither name nor time in it


def _opened(path: Path) -> BinaryIO | gzip.GzipFile:
    with path.open("rb") as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if compressed else path.open("rb")


def _read(path: Path, stream: BinaryIO | gzip.GzipFile, count: int) -> bytes:
    try:
        content = stream.read(count)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        content = b""
    if len(content) < count:
        raise UnfitDataError("file cut short", f"{path} was cut short or damaged: copy or export it again.")
    return content


def _read_to_end(path: Path, stream: BinaryIO | gzip.GzipFile) -> None:
    """Read what follows the voxels, as little as that is: the checksum of a compressed file is checked at its end."""
    try:
        while stream.read(1 << 20):
            pass
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise UnfitDataError(
            "file damaged", f"{path} does not match its checksum or was cut short: copy or export it again."
        ) from None


def _header(path: Path, content: bytes) -> NiftiHeader:
    order = next((order for order in ORDERS if np.frombuffer(content[:4], f"{order}i4")[0] == HEADER.itemsize), None)
    raw = np.frombuffer(content, dtype=HEADER.newbyteorder(order or "<"))[0]
    if order is None or raw["magic"] != b"n+1":
        raise UnfitDataError("not NIfTI", f"{path} must be a NIfTI-1 file with header and voxels in one, but is not.")
    shape = _shape(path, raw)
    if int(raw["datatype"]) not in TYPES:
        raise UnfitDataError(
            "voxels are no real numbers",
            f"{path} must hold one real number for each voxel, but holds NIfTI's type {raw['datatype']} "
            "(colours, vectors or complex numbers): choose one channel.",
        )
    dtype: np.dtype[np.generic] = np.dtype(f"{order}{TYPES[int(raw['datatype'])]}")
    offset, slope, intercept = (float(raw[name]) for name in ("vox_offset", "scl_slope", "scl_inter"))
    if not HEADER.itemsize <= offset <= 2**24:
        raise UnfitDataError("header damaged", f"{path} says that its voxels begin at byte {offset}: export it again.")
    if slope == 0 or not np.isfinite((slope, intercept)).all():  # as NIfTI says: then there is no scale
        slope, intercept = 1.0, 0.0
    description = bytes(raw["description"]).decode("ascii", "replace")
    return NiftiHeader(_geometry(path, raw, shape), dtype, int(offset), slope, intercept, description)


def _shape(path: Path, raw: np.void) -> Index:
    axes, *sizes = (int(size) for size in raw["dim"])
    if not 3 <= axes <= 7 or min(sizes[:axes]) < 1 or any(size > 1 for size in sizes[3:axes]):
        raise UnfitDataError(
            "not a 3-D volume",
            f"{path} must hold one volume with axes x, y and z, but has the size {sizes[: max(axes, 0)]}: "
            "split a series over time into its volumes.",
        )
    return sizes[2], sizes[1], sizes[0]


@np.errstate(invalid="ignore", divide="ignore", over="ignore")  # a geometry that is not finite is refused
def _geometry(path: Path, raw: np.void, shape: Index) -> Geometry:
    forms = [form for code, form in (("sform_code", _sform(raw)), ("qform_code", _qform(raw))) if raw[code] > 0]
    if not forms:
        raise UnfitDataError(
            "orientation unknown", f"{path} must say how it lies in the patient, but has neither sform nor qform."
        )
    grids = []
    for form in forms:
        axes, origin = RAS_TO_LPS @ form[:, :3], RAS_TO_LPS @ form[:, 3]
        spacing = np.linalg.norm(axes, axis=0)
        try:
            grids.append(Geometry(shape, _zyx(spacing), _point(origin), _directions((axes / spacing).T)))
        except LesionForgeError as error:
            raise UnfitDataError("geometry unfit", f"{path}: {error}") from None
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in shape])).reshape(3, -1).T
    first, *others = (grid.to_world(corners) for grid in grids)
    if np.abs(first).max() > FURTHEST_MM:
        raise UnfitDataError("geometry unfit", f"{path} must lie within {FURTHEST_MM:.0f} mm of the origin.")
    if any(np.abs(first - other).max() > AGREE_WITHIN_VOXELS * min(grids[0].spacing_mm) for other in others):
        raise UnfitDataError(
            "two positions stated",
            f"{path} states two different positions in the patient (sform and qform): remove the wrong one.",
        )
    return grids[0]


def _sform(raw: np.void) -> NDArray[np.float64]:
    return np.asarray(raw["srow"], dtype=np.float64) * _unit_mm(raw)


def _qform(raw: np.void) -> NDArray[np.float64]:
    """Affine [3, 4] of the quaternion (b, c, d); a, not stored, makes its length 1."""
    b, c, d = (float(part) for part in raw["quatern"])
    a = np.sqrt(max(0.0, 1 - (b * b + c * c + d * d)))
    spacing = np.asarray(raw["pixdim"][1:4], dtype=np.float64)
    if not np.isfinite((a, b, c, d)).all() or not a + abs(b) + abs(c) + abs(d):
        return np.full((3, 4), np.nan)
    handed = np.array([1.0, 1.0, -1.0 if raw["pixdim"][0] < 0 else 1.0])
    axes = Rotation.from_quat([b, c, d, a]).as_matrix() * (spacing * handed)
    return np.column_stack((axes, np.asarray(raw["qoffset"], dtype=np.float64))) * _unit_mm(raw)


def _unit_mm(raw: np.void) -> float:
    return MM.get(int(raw["xyzt_units"]) & 7, float("nan"))


def _zyx(spacing: NDArray[np.float64]) -> Point:
    x, y, z = map(float, spacing)
    return z, y, x


def _point(values: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) + 0.0 for value in values)
    return x, y, z


def _directions(rows: NDArray[np.float64]) -> Direction:
    x, y, z = (_point(row) for row in rows)
    return z, y, x


def _whole(values: NDArray[np.float64]) -> NDArray[np.generic]:
    """Return whole numbers in the narrowest of the types that scans have."""
    for narrow in (np.int16, np.int32):
        if np.iinfo(narrow).min <= values.min() and values.max() <= np.iinfo(narrow).max:
            return values.astype(narrow)
    return values
