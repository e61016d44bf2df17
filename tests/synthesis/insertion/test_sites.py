import numpy as np
import pytest
from scipy import ndimage

from lesionforge.data.lungs import lungs
from lesionforge.data.scan import Lesion
from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.insertion.sites import Site, SiteRules, between_lungs, find_sites


@pytest.fixture(scope="module")
def ground(chest):
    scan = chest()
    return scan, lungs(scan)


def depth_of(scan, organ, site):
    """Distance to the organ's surface, voxel by voxel on the scan's own grid; the series goes on at its ends."""
    outside = scan.geometry.to_index(site.position_mm)[1:] - np.argwhere(~organ[0])  # every slice is alike
    return np.sqrt(((outside * scan.geometry.spacing_mm[1:]) ** 2).sum(axis=1)).min()


def dense_share(scan, organ, site):
    """Share of the ball inside the organ that is no lung, by looking at every voxel of the scan."""
    z, y, x = np.indices(scan.voxels.shape, sparse=True)
    (k, j, i), (c, b, a) = scan.geometry.to_index(site.position_mm), scan.geometry.spacing_mm
    squared = ((z - k) * c) ** 2 + ((y - j) * b) ** 2 + ((x - i) * a) ** 2
    ball = (squared <= (site.diameter_mm / 2) ** 2) & organ
    return (scan.voxels[ball] > -400).mean()


@pytest.mark.parametrize("attached", ["any", "free", "surface", "vessel"])
def test_sites_are_what_the_rules_say(ground, attached):
    scan, organ = ground
    rules = SiteRules(attached=attached)
    sites = find_sites(scan, organ, [8.0, 12.0, 8.0], rules=rules, seed=3)
    assert [site.diameter_mm for site in sites] == [8, 12, 8]
    facing = ndimage.distance_transform_edt(~between_lungs(organ), sampling=scan.geometry.spacing_mm)
    assert (organ == organ[0]).mean() > 0.999
    for site in sites:
        place = tuple(scan.geometry.to_index(site.position_mm).round().astype(int))
        radius, depth, share = site.diameter_mm / 2, depth_of(scan, organ, site), dense_share(scan, organ, site)
        assert organ[place]
        assert facing[place] >= rules.from_middle_mm + radius - 2  # the search's grid is as coarse as that
        assert share <= (rules.vessel_share if attached == "free" else rules.most_dense)
        if attached == "surface":
            assert 0.6 * radius - 2 <= depth <= radius + 2
        if attached in ("free", "vessel"):
            assert depth >= radius + rules.off_mm - 2
        if attached == "vessel":
            assert share > rules.vessel_share


def test_lesions_keep_apart_from_each_other_and_from_known_ones(ground):
    scan, organ = ground
    first = find_sites(scan, organ, [10.0], seed=1)[0]
    known = Lesion("known", first.position_mm, diameter_mm=20.0)
    sites = find_sites(scan, organ, [10.0] * 4, known=[known], seed=1)
    places = [site.position_mm for site in sites]
    for number, place in enumerate(places):
        assert np.linalg.norm(np.subtract(place, known.position_mm)) >= 10 + 5 + 10
        for other in places[:number]:
            assert np.linalg.norm(np.subtract(place, other)) >= 5 + 5 + 10


def test_the_same_seed_finds_the_same_sites(ground):
    scan, organ = ground
    found = [find_sites(scan, organ, [8.0, 9.0], seed=seed) for seed in (5, 5, 6)]
    assert found[0] == found[1] != found[2]


def test_what_does_not_fit_is_said(ground):
    scan, organ = ground
    with pytest.raises(LesionForgeError, match=r"there must be 60 places for lesions, but only \d+ were found"):
        find_sites(scan, organ, [20.0] * 60)
    with pytest.raises(LesionForgeError, match="organ's mask must mark something"):
        find_sites(scan, np.zeros_like(organ), [8.0])
    for position, diameter in (((0, 0, np.nan), 8.0), ((0, 0, 0), 0.0), ((0, 0, 0), np.inf)):
        with pytest.raises(LesionForgeError, match="a site must have a position in mm and a diameter"):
            Site(position, diameter)


def test_an_organ_that_is_dense_is_as_good(ground):
    """As a liver, whose mask is given: what is denser than its tissue is a vessel there."""
    scan, _ = ground
    body = np.zeros(scan.voxels.shape, dtype=bool)
    body[:, 75:105, 118:132] = True  # between the lungs
    rules = SiteRules(attached="free", from_middle_mm=0)
    site = find_sites(scan, body, [8.0], rules=rules)[0]
    assert body[tuple(scan.geometry.to_index(site.position_mm).round().astype(int))]


def test_between_the_lungs_is_what_a_loop_finds():
    rng = np.random.default_rng(0)
    lung = rng.random((3, 5, 12)) < 0.3
    columns = np.flatnonzero(lung.any(axis=(0, 1)))
    middle = int(columns.mean())
    expected = np.zeros_like(lung)
    for k, j in np.ndindex(3, 5):
        right, left = np.flatnonzero(lung[k, j, :middle]), np.flatnonzero(lung[k, j, middle:]) + middle
        if right.size and left.size:
            expected[k, j, right.max() + 1 : left.min()] = True
    np.testing.assert_array_equal(between_lungs(lung), expected)
