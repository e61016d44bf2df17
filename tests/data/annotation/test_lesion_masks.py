import numpy as np
import pytest

from lesionforge.data.annotation.lesion_masks import grown_mask, lesion_masks
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


def dice(mask, truth):
    return 2 * (mask & truth).sum() / (mask.sum() + truth.sum())


def nodules(*, depth=0, drawn=True, centre=0, unit="HU"):
    """Three discs, or balls, of 6 pixels radius in lung, ``centre`` pixels off the middle."""
    shape = (depth, 48, 48) if depth else (48, 48)
    grid = np.indices(shape) - np.reshape([side // 2 for side in shape], (-1, *[1] * len(shape)))
    lesion = np.linalg.norm(grid - centre, axis=0) < 6
    hu = np.random.default_rng(0).normal(-850, 25, (3, *shape)) + 750 * lesion
    return Patches.of(
        hu.round().astype(np.int16),
        patient=["a", "b", "c"],
        spacing_mm=1.0,
        masks=np.repeat(lesion[None].astype(np.uint8), 3, axis=0) if drawn else None,
        unit=unit,
    )


@pytest.mark.parametrize("depth", [0, 17])
@pytest.mark.parametrize("source", ["drawn", "grown", "measured"])
def test_each_way_finds_the_lesion(source, depth):
    patches = nodules(depth=depth, centre=1)
    masks = lesion_masks(patches, source)
    assert masks.shape == patches.images.shape
    assert masks.dtype == np.uint8
    assert all(dice(mask, truth) > 0.8 for mask, truth in zip(masks, patches.masks, strict=True))


def test_a_lesion_darker_than_its_surroundings_is_measured_when_told_so():
    patches = nodules()
    dark = patches.with_images(-patches.images, patches.masks)
    np.testing.assert_array_equal(lesion_masks(dark, "measured", brighter=False), lesion_masks(patches, "measured"))


def test_a_vessel_that_touches_the_lesion_is_cut_where_the_callipers_end():
    patches = nodules()
    images = patches.images.copy()
    images[:, 23:26, 24:] = -100
    masks = lesion_masks(patches.with_images(images), "measured")
    assert not masks[:, :, 40:].any()
    assert masks[:, 24, 24].all()


def test_where_nothing_grows_the_mask_is_empty():
    patches = nodules(drawn=False)
    images = patches.images.copy()
    images[1] = -850
    masks = lesion_masks(patches.with_images(images), "grown")
    assert masks.reshape(3, -1).any(axis=1).tolist() == [True, False, True]
    with pytest.raises(LesionForgeError):
        grown_mask(images[1], (1.0, 1.0), unit="HU")


def test_an_unknown_spacing_counts_as_a_millimetre():
    image = nodules().images[0]
    unknown, known = (grown_mask(image, (spacing, spacing), unit="HU") for spacing in (np.nan, 1.0))
    np.testing.assert_array_equal(unknown, known)


def test_what_cannot_be_is_refused():
    with pytest.raises(LesionForgeError, match="no drawn masks"):
        lesion_masks(nodules(drawn=False), "drawn")
    with pytest.raises(LesionForgeError, match="in HU"):
        lesion_masks(nodules(unit="u8"), "grown")
    with pytest.raises(LesionForgeError, match="one of drawn"):
        lesion_masks(nodules(), "guessed")
