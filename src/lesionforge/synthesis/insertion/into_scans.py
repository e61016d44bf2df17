"""Lesions into a whole scan: what is around a site is brought to the painter's grid, painted, and brought back.

`neighbourhoods` says how it goes there and back, `blending` how it goes over into the scan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.geometry import Index, Window
from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_grid import mask_on
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Lesion, Scan
from lesionforge.errors import LesionForgeError
from lesionforge.networks import derived_seed
from lesionforge.synthesis.insertion.blending import blend, grain_of, outline, without_holes
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.neighbourhoods import (
    FEWEST_PIXELS,
    View,
    extent_mm,
    grid_of,
    hosts_for,
    neighbourhood,
)
from lesionforge.synthesis.insertion.noise import ScanNoise
from lesionforge.synthesis.insertion.painter import LESION, Painter
from lesionforge.synthesis.insertion.sites import Site

COARSEST = 3.0  # voxels of the scan, in those of the painter
LEAST_NOISE = 1e-3  # share of the scan's, lest it be divided by none
NOISE_SLICES = 4  # each way from the lesion's middle, in which the scan's noise is measured

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Inserted:
    """One lesion in its scan.

    Parameters
    ----------
    site, label
        As asked for.
    start
        Voxel of the canonical scan at which the window begins.
    voxels
        [z, y, x], the window with the lesion in it, of the scan's dtype.
    region
        As ``voxels``: the blend region. Outside it nothing differs.
    lesion
        With the mask of what can be seen of it, measured on ``voxels``; where it is too faint to be told from its
        surroundings, with the mask that was asked for.
    facts
        ``seen``: whether it can be told from its surroundings; ``noise_sd``: of the scan about the lesion, in HU, None
        where it is not matched; ``noise_added_share``: of it, in the lesion; ``slices``
        painted; ``voxels_in_region``.
    """

    site: Site
    label: str
    start: Index
    voxels: Array
    region: Mask
    lesion: Lesion
    facts: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def window(self) -> Window:
        """Of the canonical scan."""
        z, y, x = (slice(first, first + n) for first, n in zip(self.start, self.voxels.shape, strict=True))
        return z, y, x


def insert(scan: Scan, sites: Sequence[Site], manner: Manner) -> list[Inserted]:
    """Paint a lesion at each site of a canonical scan. The same lesion comes of a site whichever others there are.

    Raises
    ------
    LesionForgeError
        A site lies outside the scan, is too small for its voxels or too large for the painter, two are too near to each
        other, or the scan is too coarse or of another unit.
    """
    check_sizes(scan, [site.diameter_mm for site in sites], manner)
    views = [View(scan.geometry, manner, site) for site in sites]
    _check_places(scan, views)
    if not views:
        return []
    painted = manner.painter.paint(hosts_for(scan, views), label=manner.lesion_class, seed=manner.seed)
    numbers = painted.table[LESION].to_numpy()
    return [_inserted(scan, view, painted.rows(numbers == view.number)) for view in views]


def with_lesions(scan: Scan, inserted: Sequence[Inserted]) -> Scan:
    """Return the scan with lesions in it; the given one stays as it is."""
    voxels = np.array(scan.voxels)
    for each in inserted:
        voxels[each.window][each.region] = each.voxels[each.region]
    return replace(scan, voxels=voxels)


def lesion_numbers(scan: Scan, inserted: Sequence[Inserted]) -> NDArray[np.uint8]:
    """Return the masks in the scan's space, [z, y, x]: k in lesion k."""
    numbers = np.zeros(scan.voxels.shape, dtype=np.uint8)
    for number, each in enumerate(inserted, 1):
        numbers[each.window][each.lesion.mask_within(each.start, each.voxels.shape)] = number
    return numbers


def cut_out(scan: Scan, inserted: Inserted, painter: Painter) -> tuple[Array, NDArray[np.uint8]]:
    """Cut an inserted lesion out of its scan at the painter's size: image and mask of its shape.

    About its site; of a slice, the one with its largest section.
    """
    z, y, x = map(float, scan.geometry.to_index(inserted.site.position_mm))
    if len(painter.shape) == 2:
        assert inserted.lesion.mask is not None
        z = float(inserted.start[0] + np.argmax(inserted.lesion.mask.sum(axis=(1, 2))))
    grid = grid_of(painter, scan.geometry, (z, y, x))
    image, mask = neighbourhood(scan, grid), mask_on(inserted.lesion, scan.geometry, grid)
    assert mask is not None
    stored = as_stored(image) if scan.unit == "HU" else image
    return stored.reshape(painter.shape), mask.reshape(painter.shape).astype(np.uint8)


def check_sizes(scan: Scan, diameters_mm: Sequence[float], manner: Manner) -> None:
    """Raise LesionForgeError unless the painter can paint lesions so large into this scan, wherever they are to be."""
    painter, blending = manner.painter, manner.blending
    if scan.unit != painter.unit:
        raise LesionForgeError(f"{painter.id} paints in {painter.unit}, but the scan is in {scan.unit!r}: convert it.")
    spacing = scan.geometry.spacing_mm[-len(painter.shape) :]
    if any(own > COARSEST * painted for own, painted in zip(spacing, painter.spacing_mm, strict=True)):
        raise LesionForgeError(
            f"voxels of the scan may be up to {COARSEST:g} times as long as the painter's "
            f"({_sizes(painter.spacing_mm)} mm), but are {_sizes(spacing)} mm: use a finer scan, or a checkpoint of "
            "coarser patches."
        )
    least = FEWEST_PIXELS * max(scan.geometry.spacing_mm[1:])
    extent = extent_mm(painter)
    most = extent - 2 * blending.reach_mm
    for diameter in diameters_mm:
        if diameter < least:
            raise LesionForgeError(
                f"a lesion must be {FEWEST_PIXELS} pixels or more across, {least:.1f} mm in this scan, but "
                f"{diameter:g} mm was asked for: choose a larger diameter or a finer scan."
            )
        if diameter > most:
            raise LesionForgeError(
                f"a lesion with its rim must fit into the {extent:.1f} mm that the painter sees, so it may be "
                f"{most:.1f} mm wide, but {diameter:g} mm was asked for: choose a smaller one, or a checkpoint of "
                "larger patches."
            )


def _check_places(scan: Scan, views: Sequence[View]) -> None:
    for number, view in enumerate(views, 1):
        site = view.site
        if not scan.geometry.contains(site.position_mm):
            raise LesionForgeError(
                f"a site must lie in the scan, but ({', '.join(f'{mm:g}' for mm in site.position_mm)}) mm does not: "
                "positions are (x, y, z) to the left, back and head of the patient, in mm (LPS), as DICOM has them."
            )
        for other in views[: number - 1]:
            apart = float(np.linalg.norm(np.subtract(site.position_mm, other.site.position_mm)))
            least = view.outline.reach_mm + other.outline.reach_mm + 2 * view.manner.blending.reach_mm
            if apart < least:
                raise LesionForgeError(
                    f"lesions must not run into each other: site {number} must be {least:.1f} mm or more from the "
                    f"others, but lies {apart:.1f} mm from one. Move it, or insert it into the result."
                )


def _inserted(scan: Scan, view: View, painted: Patches) -> Inserted:
    """Bring one painted lesion into its scan, and measure what has come of it."""
    assert painted.masks is not None
    blending, label = view.manner.blending, view.manner.lesion_class
    spacing, host = scan.geometry.spacing_mm, scan.voxels[view.window]
    mask = view.back(list(painted.masks), nearest=True) > 0
    image = view.back(list(np.asarray(painted.images, np.float32)))
    weight = blending.weight(mask, spacing, slice_by_slice=view.flat)
    weight = without_holes(weight, host, image) if scan.unit == "HU" else weight
    mask &= weight > 0
    if not mask.any():
        raise LesionForgeError(
            f"a lesion of {view.site.diameter_mm:g} mm must cover a voxel that is not tissue already, but nothing of "
            "it is left: move it into the lung, and away from slices' gaps."
        )
    middle = (view.window[0].start + view.window[0].stop) // 2
    about = slice(max(0, middle - NOISE_SLICES), middle + NOISE_SLICES + 1)
    matched = blending.match_noise and scan.unit == "HU"
    noise = (ScanNoise.of(scan, about) or ScanNoise.assumed()) if matched else None
    rng = np.random.default_rng(derived_seed(view.manner.seed, "noise", view.number))
    # The body's rim is noisier than its lungs: no more noise than the scan has about the lesion.
    local = 1.0 if noise is None else noise.share_in(host, weight == 0)
    drawn = None if noise is None else local * noise.field(host.shape, rng)
    grain = 1.0 if noise is None else min(1.0, grain_of(image, mask, spacing, noise) / max(local, LEAST_NOISE))
    voxels = blend(host, image, weight, unit=scan.unit, noise=drawn, grain=grain)
    seen = outline(voxels, mask, weight, spacing)
    start = view.window[0].start, view.window[1].start, view.window[2].start
    shown = mask if seen is None else seen
    facts = {
        "seen": seen is not None,
        "noise_sd": None if noise is None else local * noise.sd,
        "noise_added_share": None if noise is None else float(np.sqrt(1 - grain**2)),
        "slices": int(mask.any(axis=(1, 2)).sum()),
        "voxels_in_region": int((weight > 0).sum()),
    }
    lesion = Lesion.from_mask(shown, start, scan.geometry, name=f"synthetic-{view.number}", label=label)
    return Inserted(view.site, label, start, voxels, weight > 0, lesion, facts)


def _sizes(values: Sequence[float]) -> str:
    return " × ".join(f"{value:.4g}" for value in values)
