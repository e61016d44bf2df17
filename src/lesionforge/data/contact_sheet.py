"""Pictures of patches: many on one sheet, grey by a window."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from lesionforge.data.hounsfield import Window
from lesionforge.storage import new_file

GAP_PIXELS = 2
GAP_GREY = 96
CAPTION_PIXELS = 14


def contact_sheet(
    images: NDArray[np.generic], window: Window, *, columns: int = 0, zoom: int = 1, captions: Sequence[str] = ()
) -> NDArray[np.uint8]:
    """Lay [N, y, x] patches out in rows, [height, width] of 8-bit grey; of [N, z, y, x] the middle slices.

    ``columns`` of 0 makes the sheet about square; each pixel becomes ``zoom``×``zoom``. ``captions``, one for each
    patch, stand beneath; a patch 64 pixels wide has room for about ten letters.
    """
    if images.ndim == 4:
        images = images[:, images.shape[1] // 2]
    count, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grey = np.rint(window.to_unit_interval(images) * 255).astype(np.uint8).repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = height * zoom + GAP_PIXELS + bool(captions) * CAPTION_PIXELS, width * zoom + GAP_PIXELS
    sheet = np.full((rows * height + GAP_PIXELS, columns * width + GAP_PIXELS), GAP_GREY, np.uint8)
    corners = [((n // columns) * height + GAP_PIXELS, (n % columns) * width + GAP_PIXELS) for n in range(count)]
    for tile, (top, left) in zip(grey, corners, strict=True):
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    if not captions:
        return sheet
    picture = Image.fromarray(sheet)
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(CAPTION_PIXELS - 3)
    for caption, (top, left) in zip(captions, corners, strict=True):
        pen.text((left + 1, top + grey.shape[1]), caption, fill=255, font=font)
    return np.asarray(picture)


def save_png(path: Path, grey: NDArray[np.uint8], *, about: str = "") -> None:
    """Write 8-bit grey to ``path``, in one step; ``about`` says inside the file what it shows."""
    description = PngInfo()
    if about:
        description.add_itxt("Description", about)
    with new_file(path) as partial:
        Image.fromarray(grey).save(partial, format="PNG", pnginfo=description)
