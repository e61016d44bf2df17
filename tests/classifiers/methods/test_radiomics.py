import importlib.util

import numpy as np
import pytest

from lesionforge.classifiers.methods.radiomics import Radiomics
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

installed = pytest.mark.skipif(importlib.util.find_spec("radiomics") is None, reason="the extra radiomics is missing")


def nodules(count: int = 8, *, masks: bool = True, depth: int = 0) -> Patches:
    """Discs, or balls, in lung; every other one denser."""
    rng = np.random.default_rng(0)
    shape = (depth, 32, 32) if depth else (32, 32)
    grid = np.indices(shape) - np.reshape([side // 2 for side in shape], (-1, *[1] * len(shape)))
    lesion = np.linalg.norm(grid, axis=0) < 6
    codes = np.arange(count) % 2
    hu = rng.normal(-850, 20, (count, *shape)) + lesion * (600 + 250 * codes).reshape(-1, *[1] * len(shape))
    return Patches.of(
        hu.round().astype(np.int16),
        patient=[f"p{k}" for k in range(count)],
        label=[f"class {c}" for c in codes],
        spacing_mm=1.0,
        masks=np.repeat(lesion[None].astype(np.uint8), count, axis=0) if masks else None,
    )


@installed
@pytest.mark.parametrize("depth", [0, 9])
def test_the_published_number_of_features_of_each_kind(depth, facts_of):
    patches = nodules(3, depth=depth)
    names = Radiomics().names()
    kinds = [name.partition("_")[0] for name in names]
    published = {"firstorder": 18, "glcm": 24, "gldm": 14, "glrlm": 16, "glszm": 16, "ngtdm": 5}
    assert {kind: kinds.count(kind) for kind in kinds} == published
    found = Radiomics().describe(patches, facts_of(patches), {})
    assert found.shape == (3, 93)
    inside = [image[mask == 1].astype(np.float64) for image, mask in zip(patches.images, patches.masks, strict=True)]
    for name, of in (("Mean", np.mean), ("Median", np.median), ("Maximum", np.max), ("Variance", np.var)):
        expected = [of(values) for values in inside]
        np.testing.assert_allclose(found[:, names.index(f"firstorder_{name}")], expected, rtol=1e-9)


@installed
def test_what_lies_outside_the_mask_plays_no_part(facts_of):
    patches = nodules(2)
    loud = np.where(patches.masks == 1, patches.images, 300).astype(np.int16)
    facts = facts_of(patches)
    found = [Radiomics().describe(each, facts, {}) for each in (patches, patches.with_images(loud, patches.masks))]
    np.testing.assert_array_equal(*found)


@installed
def test_a_lesion_that_fills_its_patch_has_features(facts_of):
    small = nodules(2).centre_crop(6)
    assert small.masks.all()
    assert np.isfinite(Radiomics().describe(small, facts_of(small), {})).all()


@installed
@pytest.mark.parametrize("depth", [0, 17])
def test_without_a_mask_the_lesion_is_grown_from_the_centre(depth, facts_of):
    drawn, bare = nodules(2, depth=depth), nodules(2, masks=False, depth=depth)
    empty = drawn.with_images(drawn.images, np.zeros_like(drawn.masks))
    facts = facts_of(drawn)
    names = Radiomics().names()
    expected, found, of_empty = (Radiomics().describe(each, facts, {}) for each in (drawn, bare, empty))
    np.testing.assert_array_equal(found, of_empty)
    median = names.index("firstorder_Median")
    np.testing.assert_allclose(found[:, median], expected[:, median], atol=30)


@installed
def test_patches_without_a_lesion_are_counted(facts_of):
    patches = nodules(4)
    masks = patches.masks.copy()
    images = patches.images.copy()
    images[1], masks[1] = -850, 0  # nothing grows
    masks[2] = 0
    masks[2, 3, 3] = 1  # a single pixel
    broken = patches.with_images(images, masks)
    with pytest.raises(LesionForgeError, match=r"2 of 4 have none\. The first: .*bring masks"):
        Radiomics().describe(broken, facts_of(broken), {})


@installed
def test_eight_bit_pictures_need_masks(facts_of):
    pictures = Patches.of(np.full((2, 16, 16), 90), patient=["a", "b"], label=["x", "y"], unit="u8", spacing_mm=1.0)
    with pytest.raises(LesionForgeError, match="must be in HU"):
        Radiomics().describe(pictures, facts_of(pictures), {})
