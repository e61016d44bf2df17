"""Pictures of patches: many on one sheet, grey by a window."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lesionforge.data.hounsfield import Window
from lesionforge.storage import new_file

GAP_PIXELS = 2
GAP_GREY = 96


def contact_sheet(images: NDArray[np.generic], window: Window, *, columns: int = 0, zoom: int = 1) -> NDArray[np.uint8]:
    """Lay [N, y, x] patches out in rows, [height, width] of 8-bit grey; of [N, z, y, x] the middle slices.

    ``columns`` of 0 makes the sheet about square; each pixel becomes ``zoom``×``zoom``.
    """
    if images.ndim == 4:
        images = images[:, images.shape[1] // 2]
    count, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grey = np.rint(window.to_unit_interval(images) * 255).astype(np.uint8).repeat(zoom, axis=1).repeat(zoom, axis=2)
    height, width = height * zoom + GAP_PIXELS, width * zoom + GAP_PIXELS
    sheet = np.full((rows * height + GAP_PIXELS, columns * width + GAP_PIXELS), GAP_GREY, np.uint8)
    for number, tile in enumerate(grey):
        top, left = (number // columns) * height + GAP_PIXELS, (number % columns) * width + GAP_PIXELS
        sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return sheet


def save_png(path: Path, grey: NDArray[np.uint8]) -> None:
    """Write 8-bit grey to ``path``, in one step."""
    with new_file(path) as partial:
        Image.fromarray(grey).save(partial, format="PNG")
