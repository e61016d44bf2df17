import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.transform import Rotation

from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Scan
from lesionforge.errors import LesionForgeError
from lesionforge.synthesis.insertion.blending import Blending
from lesionforge.synthesis.insertion.into_scans import cut_out, insert, lesion_numbers, with_lesions
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.noise import GRAIN, ScanNoise
from lesionforge.synthesis.insertion.outlines import Balls, Lobed
from lesionforge.synthesis.insertion.sites import LONGEST, Site

SPACINGS = st.tuples(st.floats(0.7, 3.5), st.floats(0.5, 2.0), st.floats(0.5, 2.0))
BALLS = Balls()
ANGLES = st.tuples(*[st.integers(-25, 25)] * 3)


def scan_of(shape, spacing_mm, dtype=np.int16, angles=(0, 0, 0), mirrored=False):
    """Lung with noise, tilted as a gantry or a patient may be."""
    axes = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ np.eye(3)[::-1]
    if mirrored:
        axes[0] *= -1
    voxels = np.random.default_rng(0).normal(-800, 40, shape).round().astype(dtype)
    geometry = Geometry(shape, spacing_mm, (10.0, -20.0, 30.0), tuple(map(tuple, axes.T)))
    return Scan(voxels, geometry, "host", "scan").canonical()


def site_at(scan, share, diameter_mm):
    """A site at this share of the way from the first voxel to the last, along each axis."""
    index = np.multiply(share, np.subtract(scan.geometry.shape, 1))
    return Site(tuple(map(float, scan.geometry.to_world(index))), diameter_mm)


def manner(painter, *, seed=0):
    """Balls, benign."""
    return Manner(painter, "benign", BALLS, seed=seed)


def in_two_dimensions(painter):
    return painter(shape=(24, 24), spacing_mm=(1.0, 1.0))


def in_three_dimensions(painter):
    return painter(shape=(20, 24, 24), spacing_mm=(1.2, 1.0, 1.0))


@settings(max_examples=15, deadline=None)
@given(
    spacing=SPACINGS,
    angles=ANGLES,
    mirrored=st.booleans(),
    dtype=st.sampled_from([np.int16, np.int32, np.float32]),
    share=st.tuples(*[st.floats(0, 1)] * 3),
    flat=st.booleans(),
    outlines=st.sampled_from([BALLS, Lobed()]),
    widths=st.tuples(st.floats(0, 1.5), st.floats(0, 3)),
)
def test_insertion_changes_the_region_and_nothing_else(
    flat_painter, spacing, angles, mirrored, dtype, share, flat, outlines, widths
):
    scan = scan_of((7, 26, 30), spacing, dtype, angles, mirrored)
    before = scan.voxels.copy()
    painter = in_two_dimensions(flat_painter) if flat else in_three_dimensions(flat_painter)
    site = site_at(scan, share, 9.0)
    (got,) = insert(scan, [site], Manner(painter, "benign", outlines, Blending(*widths)))
    after = with_lesions(scan, [got])
    assert scan.voxels.tobytes() == before.tobytes()
    assert after.geometry == scan.geometry
    assert after.voxels.dtype == dtype
    region = np.zeros(scan.voxels.shape, dtype=bool)
    region[got.window] = got.region
    assert after.voxels[~region].tobytes() == before[~region].tobytes()
    mask = got.lesion.mask_within((0, 0, 0), scan.voxels.shape)
    assert mask.any()
    assert not (mask & ~region).any()
    # All of the region lies within the ball, its margin and rim, and a voxel's breadth: the mask is of whole ones.
    distance = np.linalg.norm(scan.geometry.to_world(np.argwhere(region)) - site.position_mm, axis=1)
    reach = 4.5 * (1 if outlines is BALLS else LONGEST) + sum(widths)
    assert distance.max() <= reach + np.linalg.norm(spacing) + np.linalg.norm(painter.spacing_mm)
    assert after.voxels[mask].mean() > -500  # thin and thick, it is a lesion in lung


@pytest.mark.parametrize("make", [in_two_dimensions, in_three_dimensions])
def test_a_lesion_is_as_large_as_it_was_asked_to_be(flat_painter, make):
    scan = scan_of((21, 50, 60), (1.5, 0.8, 0.7))
    (got,) = insert(scan, [site_at(scan, (0.5, 0.5, 0.5), 12.0)], manner(make(flat_painter)))
    assert got.facts["seen"]
    assert got.lesion.diameter_mm == pytest.approx(12, abs=0.9)
    assert got.lesion.extent_mm(scan.geometry)[0] == pytest.approx(12, abs=2 * 1.5)
    np.testing.assert_allclose(got.lesion.position_mm, got.site.position_mm, atol=0.8)


def test_a_lesion_does_not_depend_on_the_others(flat_painter):
    scan, painter = scan_of((9, 60, 60), (2.0, 1.0, 1.0)), in_two_dimensions(flat_painter)
    first, second = site_at(scan, (0.5, 0.2, 0.2), 8.0), site_at(scan, (0.5, 0.8, 0.8), 10.0)
    alone, both, turned = (
        insert(scan, sites, manner(painter, seed=4)) for sites in ([first], [first, second], [second, first])
    )
    for other in (both[0], turned[1]):
        assert alone[0].voxels.tobytes() == other.voxels.tobytes()
    numbers = lesion_numbers(scan, both)
    assert set(np.unique(numbers)) == {0, 1, 2}
    assert (numbers == 1).sum() == both[0].lesion.mask.sum()


def test_noise_follows_from_the_seed(flat_painter, chest):
    scan = chest()
    site = Site((70.0, -20.0, 0.0), 12.0)
    made = [insert(scan, [site], manner(in_two_dimensions(flat_painter), seed=seed))[0] for seed in (1, 1, 2)]
    assert made[0].voxels.tobytes() == made[1].voxels.tobytes() != made[2].voxels.tobytes()
    assert made[0].facts["noise_sd"] == pytest.approx(20, rel=0.1)
    assert made[0].facts["noise_added_share"] == pytest.approx(1)
    core = ndimage.binary_erosion(made[0].lesion.mask, np.ones((1, 5, 5)))
    assert made[0].voxels[core].std() == pytest.approx(20, rel=0.3)


def test_without_calm_tissue_the_lung_says_how_strong_the_noise_is(flat_painter):
    scan = scan_of((9, 60, 60), (2.0, 1.0, 1.0))
    assert ScanNoise.of(scan) is None
    (got,) = insert(scan, [site_at(scan, (0.5, 0.5, 0.5), 14.0)], manner(in_two_dimensions(flat_painter)))
    core = ndimage.binary_erosion(got.lesion.mask, np.ones((1, 5, 5)))
    grain = [
        np.median(np.abs(ndimage.correlate(voxels.astype(float), GRAIN[np.newaxis])[where]))
        for voxels, where in ((got.voxels, core), (scan.voxels, np.ones(scan.voxels.shape, bool)))
    ]
    assert grain[0] == pytest.approx(grain[1], rel=0.25)


def test_what_cannot_be_seen_says_so(flat_painter, chest):
    painter = flat_painter(value=-850.0)
    (got,) = insert(chest(), [Site((70.0, -20.0, 0.0), 10.0)], manner(painter))
    assert got.facts["seen"] is False
    assert got.lesion.diameter_mm == pytest.approx(10, abs=2)  # as asked for


def test_a_small_lesion_between_thick_slices_is_on_one(flat_painter):
    scan = scan_of((5, 40, 40), (6.0, 1.0, 1.0))
    (got,) = insert(scan, [site_at(scan, (0.6, 0.5, 0.5), 5.0)], manner(in_two_dimensions(flat_painter)))
    assert got.facts["slices"] == 1


def test_a_lesion_is_cut_out_again_at_the_painters_size(flat_painter):
    scan = scan_of((9, 60, 60), (2.0, 0.8, 0.8))
    for make in (in_two_dimensions, in_three_dimensions):
        painter = make(flat_painter)
        (got,) = insert(scan, [site_at(scan, (0.5, 0.5, 0.5), 10.0)], manner(painter))
        image, mask = cut_out(with_lesions(scan, [got]), got, painter)
        assert image.shape == mask.shape == painter.shape
        assert image[mask > 0].mean() > -200 > image[mask == 0].mean()


def test_bad_requests_are_refused(flat_painter):
    scan, painter = scan_of((7, 60, 60), (2.5, 0.8, 0.8)), in_two_dimensions(flat_painter)
    middle = (0.5, 0.5, 0.5)

    def refused(message, *, on=scan, sites=None, label="benign", by=painter):
        with pytest.raises(LesionForgeError, match=message):
            insert(on, sites or [site_at(on, middle, 8.0)], Manner(by, label, BALLS))

    refused("must lie in the scan, but", sites=[Site((500.0, 0.0, 0.0), 8.0)])
    refused("3 pixels or more across, 2.4 mm", sites=[site_at(scan, middle, 2.0)])
    refused("it may be 17.0 mm wide, but 18 mm", sites=[site_at(scan, middle, 18.0)])
    refused("must not run into each other", sites=[site_at(scan, middle, 8.0), site_at(scan, (0.5, 0.6, 0.5), 8.0)])
    refused(
        "a class must be named that flat-0123 can paint, but 'malgnant'.*did you mean 'malignant'", label="malgnant"
    )
    refused("none was named", label=None)
    refused("up to 3 times as long as the painter's", on=scan_of((7, 60, 60), (2.5, 3.2, 3.2)))
    refused("paints in u8, but the scan is in 'HU'", by=flat_painter(unit="u8"))
    assert insert(scan, [], manner(painter)) == []
