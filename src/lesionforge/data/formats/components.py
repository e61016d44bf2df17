"""Connected parts of a mask."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.geometry import Index

TOUCHING = np.ones((3, 3, 3), dtype=bool)  # voxels that share a corner belong together


def connected_parts(mask: NDArray[np.bool_]) -> list[tuple[NDArray[np.bool_], Index]]:
    """Return the parts of a mask [z, y, x] that do not touch: each cut to its box, with where that begins."""
    numbered, _ = ndimage.label(mask, TOUCHING)
    return [
        (numbered[window] == number, (int(window[0].start), int(window[1].start), int(window[2].start)))
        for number, window in enumerate(ndimage.find_objects(numbered), start=1)
    ]
