import numpy as np
import pytest

from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.patches import Patches
from lesionforge.errors import LeakError, LesionForgeError
from lesionforge.synthesis.insertion.into_scans import insert
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.outlines import Ball
from lesionforge.synthesis.insertion.sites import LONGEST, Site
from lesionforge.synthesis.insertion.traced import Traced, Tracing, given

SPACING = (2.0, 1.0, 0.8)


def ellipsoid(shape, radii_px):
    steps = [(np.arange(n) - n // 2) / radius for n, radius in zip(shape, radii_px, strict=True)]
    return sum(axis**2 for axis in np.meshgrid(*steps, indexing="ij")) <= 1


def on_its_grid(shape, spacing_mm):
    steps = [(np.arange(n) - n // 2) * mm for n, mm in zip(shape, spacing_mm, strict=True)]
    return np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1)


def lesions(small_patches, masks, spacing_mm, **columns):
    patches = small_patches(shape=masks.shape[1:], patients=len(masks), per_patient=1)
    return patches.with_images(patches.images, masks.astype(np.uint8), spacing_mm=spacing_mm).with_columns(**columns)


def drawn(outlines, diameter_mm, label="benign", seed=0):
    return next(outlines.candidates(Site((0.0, 0.0, 0.0), diameter_mm), label, np.random.default_rng(seed)))


def test_a_mask_traced_is_the_mask():
    mask = ellipsoid((9, 21, 21), (3, 8, 6))
    mask[4, 4:8, 10] = False  # with a dent
    traced = Tracing.of(mask, SPACING)
    places = on_its_grid(mask.shape, SPACING) - (np.argwhere(mask).mean(axis=0) - [4, 10, 10]) * SPACING
    np.testing.assert_array_equal(traced.holds(places), mask)
    furthest = np.linalg.norm(places[mask], axis=-1).max()
    assert furthest <= traced.reach_mm <= furthest + np.linalg.norm(SPACING) / 2 + 1e-9
    assert not traced.holds(np.array([50.0, 50.0, 50.0]))


@pytest.mark.parametrize("shape", [(11, 31, 31), (31, 31)], ids=["volume", "slice"])
def test_a_lesions_outline_has_the_asked_diameter_whichever_way_it_is_turned(small_patches, shape):
    mask = ellipsoid(shape, ((4, 7, 9), (7, 9))[len(shape) == 2])
    spacing = SPACING[-len(shape) :]
    outlines = Traced(lesions(small_patches, np.repeat(mask[None], 4, axis=0), spacing))
    places = on_its_grid((41, 81, 81), (0.5, 0.25, 0.25))
    made = []
    for seed in range(4):
        outline = drawn(outlines, 10.0, seed=seed)
        assert isinstance(outline, Tracing)
        inside = outline.holds(places)
        area = inside.sum(axis=(1, 2)).max() * 0.25**2
        assert 2 * np.sqrt(area / np.pi) == pytest.approx(10, rel=0.06)
        assert np.linalg.norm(places[inside], axis=-1).max() <= outline.reach_mm <= LONGEST * 5
        made.append(inside)
    assert (made[0] != made[1]).any()
    np.testing.assert_array_equal(drawn(outlines, 10.0, seed=0).holds(places), made[0])


def test_a_disc_swells_to_a_ball(small_patches):
    masks = np.repeat(ellipsoid((41, 41), (12, 12))[None], 2, axis=0)
    outline = drawn(Traced(lesions(small_patches, masks, 1.0)), 12.0)
    places = on_its_grid((29, 29, 29), (0.6, 0.6, 0.6))
    inside, ball = outline.holds(places), Ball(12.0).holds(places)
    assert (inside != ball).sum() < 0.12 * ball.sum()
    assert inside.any(axis=(1, 2)).sum() * 0.6 == pytest.approx(12, abs=1.3)


def test_outlines_are_of_the_wanted_class_and_of_lesions_about_as_large(small_patches):
    round_, long = ellipsoid((41, 41), (9, 9)), ellipsoid((41, 41), (7, 11))
    masks = np.stack([round_, long] * 4)
    outlines = Traced(lesions(small_patches, masks, 1.0))
    reach = {label: drawn(outlines, 10.0, label).reach_mm for label in ("benign", "malignant", "of another kind")}
    assert reach["benign"] < 6 < reach["malignant"]
    assert reach["of another kind"] in {reach["benign"], reach["malignant"]}


def test_lesions_that_are_cut_off_or_too_long_are_left_out(small_patches):
    cut_off = np.zeros((31, 31), bool)
    cut_off[:12, 5:18] = True
    whole, thin = ellipsoid((31, 31), (8, 8)), ellipsoid((31, 31), (2, 13))
    outlines = Traced(lesions(small_patches, np.stack([cut_off, whole, cut_off, cut_off]), 1.0))
    assert all(drawn(outlines, 8.0, seed=seed).reach_mm < 5 for seed in range(4))
    assert drawn(Traced(lesions(small_patches, np.stack([thin, thin]), 1.0)), 8.0) == Ball(8.0)
    with pytest.raises(LesionForgeError, match="lesions with masks, whole ones, and a spacing"):
        Traced(lesions(small_patches, np.stack([cut_off, cut_off]), 1.0))
    patches = lesions(small_patches, np.stack([whole, whole]), 1.0)
    for lacking in (Patches(patches.images, patches.table), patches.with_columns(spacing_y_mm=np.nan)):
        with pytest.raises(LesionForgeError, match="lesions with masks, whole ones, and a spacing"):
            Traced(lacking)


def test_whose_outlines_they_are_is_not_forgotten(small_patches, flat_painter):
    masks = np.repeat(ellipsoid((31, 31), (8, 8))[None], 2, axis=0)
    outlines = Traced(lesions(small_patches, masks, 1.0))
    manner = Manner(flat_painter(), "benign", outlines)
    assert manner.to_json()["outlines"] == outlines.id
    for patient in ("patient-000", "taught"):
        with pytest.raises(LeakError):
            manner.exposure.refuse(Exposure.to([patient], []), doing="scoring")


def test_a_given_mask_is_what_is_inserted(flat_painter, chest, tmp_path):
    scan = chest()
    mask = np.zeros(scan.voxels.shape, np.uint8)
    mask[11:14, 70:76, 190:199] = 1
    mask[12, 70:72, 190:194] = 0
    mask[9:12, 80:86, 50:57] = 1  # another part
    write_volume(tmp_path / "mask.nii.gz", mask, scan.geometry)
    sites, outlines = given(tmp_path / "mask.nii.gz", scan.geometry)
    assert len(sites) == 2
    for painter in (flat_painter(), flat_painter(shape=(20, 24, 24), spacing_mm=(1.25, 1.2, 1.2))):
        made = insert(scan, sites, Manner(painter, "benign", outlines))
        for each in made:
            wanted = mask[each.window] > 0
            got = each.lesion.mask_within(each.start, each.voxels.shape)
            assert (got & wanted).sum() > 0.65 * (got | wanted).sum()
    assert given(tmp_path / "mask.nii.gz", scan.geometry)[1].id == outlines.id
    small = flat_painter(shape=(12, 12))
    with pytest.raises(LesionForgeError, match=r"reach no farther than 2\.5 mm"):
        insert(scan, [Site(sites[0].position_mm, 4.0)], Manner(small, "benign", type(outlines)(dict.fromkeys(
            [Site(sites[0].position_mm, 4.0)], outlines.outlines[sites[0]]))))  # fmt: skip
    write_volume(tmp_path / "empty.nii.gz", np.zeros_like(mask), scan.geometry)
    with pytest.raises(LesionForgeError, match="must mark where lesions are to be, but marks nothing"):
        given(tmp_path / "empty.nii.gz", scan.geometry)
