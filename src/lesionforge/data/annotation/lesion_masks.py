"""Which pixels of a patch are its lesion: as drawn, as region growing finds it, or as callipers measure it.

Synthetic patches come without masks, and a lesion outlined by a reader has other features than the same lesion outlined
by a rule. So patches that are compared are outlined in one way, which is named wherever the comparison is shown.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.annotation.region_growing import grow
from lesionforge.data.geometry import Geometry
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import lesion_regions
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError

MaskSource = Literal["drawn", "grown", "measured"]
MEANING = {
    "drawn": "the masks that came with the patches",
    "grown": "region growing from the patch's centre",
    "measured": "pixels nearer to the lesion's middle than to its surroundings in intensity, within callipers' reach",
}

Masks = NDArray[np.uint8]


def lesion_masks(patches: Patches, source: MaskSource, *, brighter: bool = True) -> Masks:
    """Mask of each patch's lesion, [N, *shape]; empty where it has none, or none grows.

    ``brighter`` says, for ``measured``, whether lesions are brighter than what is around them.

    Raises
    ------
    LesionForgeError
        Masks were to be drawn and are missing, or to be grown in patches that are not in HU, or ``source`` is unknown.
    """
    if source not in get_args(MaskSource):
        raise LesionForgeError(f"masks must be one of {', '.join(get_args(MaskSource))}, but {source!r} came.")
    if source == "drawn":
        if patches.masks is None:
            raise LesionForgeError("these patches have no drawn masks: choose measured masks for all that is compared.")
        return np.asarray(patches.masks, dtype=np.uint8)
    if source == "measured":
        return lesion_regions(patches.images, brighter=brighter)
    if patches.unit != "HU":
        raise LesionForgeError(f"lesions grow in patches in HU, but these are in {patches.unit!r}: choose measured.")
    masks = np.zeros(patches.images.shape, dtype=np.uint8)
    for mask, image, spacing in zip(masks, patches.images, patches.spacing_mm, strict=True):
        try:
            mask[:] = grown_mask(image, tuple(spacing), unit=patches.unit)
        except LesionForgeError:  # nothing grows here: that is what an empty mask says
            continue
    return masks


def grown_mask(image: Array, spacing_mm: tuple[float, ...], *, unit: str) -> Masks:
    """Mask of the lesion that grows from the middle of one patch, [*shape]; an unknown spacing counts as 1 mm.

    Raises
    ------
    LesionForgeError
        As `grow`: there is no lesion, or what grows leaks.
    """
    volume = image.reshape((1,) * (3 - image.ndim) + image.shape)
    z, y, x = [1.0] * (3 - image.ndim) + [each if np.isfinite(each) else 1.0 for each in spacing_mm]
    depth, height, width = volume.shape
    geometry = Geometry((depth, height, width), (z, y, x), (0.0, 0.0, 0.0))
    middle = geometry.to_world([side // 2 for side in volume.shape])
    lesion = grow(Scan(volume, geometry, patient="", name="", unit=unit), tuple(middle.tolist()))
    assert lesion.mask is not None
    assert lesion.start is not None
    mask = np.zeros(volume.shape, dtype=np.uint8)
    place = tuple(slice(first, first + side) for first, side in zip(lesion.start, lesion.mask.shape, strict=True))
    mask[place] = lesion.mask
    return mask.reshape(image.shape)
