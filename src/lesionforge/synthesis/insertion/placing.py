"""Where in a host the lesions of a cohort go, and which of them it has room for.

A lesion that a patch shows already must lie within the hole that is painted, or a part of it would be left beside the
new one. So it is replaced by larger ones alone, and the outline asked for takes it in.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lesionforge.data.patch_grid import padded_share
from lesionforge.errors import UnfitDataError
from lesionforge.synthesis.insertion.hosts import Host
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.neighbourhoods import grid_of
from lesionforge.synthesis.insertion.outlines import Covering
from lesionforge.synthesis.insertion.sites import Site, SiteRules, is_plausible, lungs_about, places_for
from lesionforge.synthesis.insertion.traced import Tracing

MOST_BEYOND = 0.1  # share of what the painter sees that may lie beyond the patch


def placed(host: Host, asked: Sequence[float], manner: Manner, rules: SiteRules) -> tuple[list[Site], Manner]:
    """Find places for as many of the lesions as there is room for, by their diameters in mm.

    Returns
    -------
    sites
        One at least.
    manner
        In which lesions are put there: in a patch, so that its own lesion is covered.

    Raises
    ------
    UnfitDataError
        There is no room: no lung, no plausible place, or a patch that is smaller than what the painter sees, whose own
        lesion is larger, or whose middle is tissue.
    """
    if host.is_patch:
        site, manner = _in_patch(host, asked, manner, rules)
        return [site], manner
    found = places_for(host.scan, lungs_about(host.scan), asked, rules=rules, known=host.known, seed=manner.seed)
    if not any(found):
        raise UnfitDataError("no room", f"there must be a plausible place for a lesion, but there is none for {asked}.")
    return [site for site in found if site], manner


def _in_patch(host: Host, asked: Sequence[float], manner: Manner, rules: SiteRules) -> tuple[Site, Manner]:
    """Choose the first lesion of ``asked`` that can be put into a patch."""
    middle = tuple((n - 1) / 2 for n in host.scan.geometry.shape)
    own = host.known[0] if host.known else None
    x, y, z = map(float, host.scan.geometry.to_world(middle))
    position = (x, y, z) if own is None else own.position_mm
    z, y, x = map(float, host.scan.geometry.to_index(position))
    if padded_share(host.scan.geometry, grid_of(manner.painter, host.scan.geometry, (z, y, x))) > MOST_BEYOND:
        raise UnfitDataError(
            "patch too small", "patches must be as large as what the painter sees, but one is smaller: cut larger ones."
        )
    if own is None:
        everywhere = np.ones(host.scan.voxels.shape, bool)
        fitting = [mm for mm in asked if is_plausible(host.scan, everywhere, Site(position, mm), rules=rules)]
    else:
        widest_mm = max(own.extent_mm(host.scan.geometry)[-len(manner.painter.shape) :])
        fitting = [mm for mm in asked if mm >= widest_mm]
    if not fitting:
        raise UnfitDataError(
            "no room in a patch",
            "a patch must show lung in its middle, or a lesion that is smaller than the one that is to replace it.",
        )
    if own is not None:
        assert own.mask is not None
        body = Tracing.of(own.mask, host.scan.geometry.spacing_mm)
        manner = replace(manner, outlines=Covering(manner.outlines, body))
    return Site(position, fitting[0]), manner
