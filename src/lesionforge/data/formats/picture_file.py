"""Gray pictures in PNG, JPEG and TIFF files, read as they are stored: nothing is scaled, resized or guessed."""

import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lesionforge.errors import UnfitDataError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")
FORMATS = ("PNG", "JPEG", "TIFF")
LARGEST_PIXELS = 2**26
DEEP_MODES = ("I;16", "I;16B", "I;16L", "I")
SHALLOW_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
OPAQUE = 255
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # tags of TIFF
ORIENTATION, ON_ITS_SIDE = 274, (5, 6, 7, 8)
# What Pillow raises on files that are not what they say.
BROKEN = (
    *(OSError, ValueError, SyntaxError, EOFError, TypeError, LookupError, AttributeError, NotImplementedError),
    *(ArithmeticError, MemoryError, RuntimeError, struct.error, zlib.error, Image.DecompressionBombError),
)


def read_picture(file: Path) -> NDArray[Any]:
    """Read gray values [y, x], upright; of 8 bits as uint8, of 16 as uint16 or int32.

    Raises
    ------
    UnfitDataError
        The picture is broken, too large, in colour, see-through, on its side, or has several frames.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd notes in a picture; its pixels are checked
            with Image.open(file, formats=FORMATS) as image:
                _check_extent(image, file)
                return _gray(image, file)
    except UnfitDataError:
        raise
    except BROKEN as error:
        raise UnfitDataError("broken picture", f"{file} must be a PNG, JPEG or TIFF picture, but {error}.") from None


def _check_extent(image: Image.Image, file: Path) -> None:
    """Refuse too many pixels before they are unpacked, and frames of which only the first would be seen."""
    if image.width * image.height > LARGEST_PIXELS:
        message = f"{file} must have {LARGEST_PIXELS:,} pixels at most, but says {image.width} × {image.height}."
        raise UnfitDataError("too large a picture", message)
    if getattr(image, "n_frames", 1) > 1:
        raise UnfitDataError("several frames", f"{file} must be one picture, but has several.")


def _gray(image: Image.Image, file: Path) -> NDArray[Any]:
    tags = getattr(image, "tag_v2", {})
    if tags.get(ORIENTATION) in ON_ITS_SIDE:  # of which Pillow (up to 13 at least) mixes up the rows, if uncompressed
        raise UnfitDataError("TIFF on its side", f"{file} must stand upright, but is stored on its side: turn it.")
    is_inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
    upright = ImageOps.exif_transpose(image)
    if upright.mode in DEEP_MODES and not is_inverted:  # which Pillow turns round for 8 bits alone
        values = np.asarray(upright)
        if values.min() >= -(2**15) and values.max() < 2**16:
            return values
    if upright.mode not in SHALLOW_MODES:
        raise UnfitDataError("not 8 or 16 bits of gray", f"{file} must have 8 or 16 bits of gray, 0 black; it has not.")
    rgba = np.asarray(upright.convert("RGBA"))
    if rgba[..., 3].min() < OPAQUE:
        raise UnfitDataError("see-through picture", f"{file} must be opaque, but pixels of it are see-through.")
    if (rgba[..., :3] != rgba[..., :1]).any():
        raise UnfitDataError("picture in colour", f"{file} must be gray, as CT is, but is in colour.")
    return rgba[..., 0].copy()
