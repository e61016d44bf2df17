import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from lesionforge.errors import LesionForgeError
from lesionforge.generators import holes
from lesionforge.generators.contract import Batch
from lesionforge.generators.holes import Hole, spheres
from lesionforge.generators.methods.class_aware_inpainting import ClassAwareInpainting

METHOD = ClassAwareInpainting()


def ellipsoid(shape, centre, radii):
    away = [((np.arange(side) - c) / r) ** 2 for side, c, r in zip(shape, centre, radii, strict=True)]
    return sum(np.meshgrid(*away, indexing="ij")) <= 1 + 1e-9


def batch(*masks):
    made = torch.from_numpy(np.stack(masks)).float().unsqueeze(1)
    images = torch.rand(made.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return Batch(images=images, labels=torch.zeros(len(made), dtype=torch.int64), masks=made)


@pytest.mark.parametrize("radius", [0, 1, 3, 5.5])
@pytest.mark.parametrize("shape", [(20, 24), (16, 20, 18)], ids=str)
def test_the_sphere_about_a_ball_is_that_ball(shape, radius):
    mask = ellipsoid(shape, (8, 9, 8)[: len(shape)], (max(radius, 0.1),) * len(shape))
    np.testing.assert_array_equal(spheres(batch(mask).masks)[0, 0].numpy(), mask)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), axes=st.integers(2, 3), sides=st.sampled_from([(1.0,), (2.0, 1.0, 1.0)]))
def test_a_sphere_holds_all_of_its_lesion_and_no_smaller_one_about_that_centre_does(seed, axes, sides):
    rng = np.random.default_rng(seed)
    mask = rng.random((10,) * axes) < 0.02
    mask[(5,) * axes] = True
    voxel = np.resize(sides if len(sides) == 1 else sides[:axes], axes)
    made = spheres(batch(mask).masks, voxel_sides=tuple(voxel))[0, 0].numpy() > 0
    places = np.argwhere(mask) * voxel
    away = np.linalg.norm(np.indices(mask.shape).reshape(axes, -1).T * voxel - places.mean(0), axis=1)
    farthest = np.linalg.norm(places - places.mean(0), axis=1).max()
    np.testing.assert_array_equal(made.ravel(), away <= farthest + 1e-4)
    assert made[mask].all()


def test_margins_widen_a_hole_all_around_and_voxels_may_be_longer_along_an_axis():
    mask = ellipsoid((20, 20, 20), (10, 10, 10), (2, 4, 4))  # in mm a ball: slices are twice as far apart
    made = spheres(batch(mask).masks, margin_px=2, voxel_sides=(2, 1, 1))[0, 0].numpy()
    np.testing.assert_array_equal(made, ellipsoid((20, 20, 20), (10, 10, 10), (3, 6, 6)))


@pytest.mark.parametrize("form", ["sphere", "mask"])
@pytest.mark.parametrize("margin_px", [0, 2])
def test_a_picture_is_the_patch_without_its_hole_and_where_that_was(form, margin_px):
    mask = ellipsoid((24, 24), (11, 13), (3, 6))
    given_ = batch(mask)
    picture = Hole(form=form, margin_px=margin_px).picture(METHOD, given_)
    expected = ndimage.binary_dilation(mask, np.ones((2 * margin_px + 1,) * 2))
    if form == "sphere":
        expected = ellipsoid((24, 24), (11, 13), (6 + margin_px,) * 2)
    assert mask[expected].sum() == mask.sum()
    np.testing.assert_array_equal(picture[0, 1].numpy(), np.where(expected, 1, -1))
    np.testing.assert_array_equal(picture[0, 0].numpy(), np.where(expected, -1, given_.images[0, 0]))
    surroundings, hole = holes.shown(Batch(images=given_.images, labels=given_.labels, picture=picture))
    assert torch.equal(surroundings, picture[:, :1])
    np.testing.assert_array_equal(hole[0, 0].numpy(), expected)


def test_masks_that_are_missing_or_mark_nothing_are_named():
    mask = ellipsoid((8, 8), (4, 4), (2, 2))
    with pytest.raises(LesionForgeError, match=r"class_aware_inpainting fills holes.*have no masks"):
        Hole().picture(METHOD, Batch(images=torch.zeros(1, 1, 8, 8), labels=torch.zeros(1, dtype=torch.int64)))
    with pytest.raises(LesionForgeError, match="have masks that mark nothing"):
        Hole().picture(METHOD, batch(mask, np.zeros_like(mask)))


def test_voxel_sides_fit_the_axes_or_are_refused():
    Hole(voxel_sides=(2, 1, 1)).check((8, 8, 8))
    Hole().check((8, 8))
    with pytest.raises(LesionForgeError, match="one for each axis of patches of 8×8, but 3 came"):
        Hole(voxel_sides=(2, 1, 1)).check((8, 8))


@pytest.mark.parametrize(
    ("numbers", "shape", "side"), [(32_768, (64, 64), 181), (32_768, (16, 40, 8), 32), (5, (6, 6), 2)]
)
def test_noise_is_a_square_or_cube_of_the_latent_vector_side_by_side(numbers, shape, side):
    latent = torch.randn(2, numbers, generator=torch.Generator().manual_seed(0))
    made = holes.noise(latent, shape)
    assert made.shape == (2, 1, *shape)
    cube = latent[:, : side ** len(shape)].reshape(2, *(side,) * len(shape)).numpy()
    for place in np.random.default_rng(0).integers(0, shape, (50, len(shape))):
        expected = cube[(slice(None), *(place % side))]
        np.testing.assert_array_equal(made[(slice(None), 0, *place)].numpy(), expected)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), axes=st.integers(2, 3))
def test_boxes_lie_about_the_middle_of_the_hole_and_within_the_patch(seed, axes):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(6, 20, axes).tolist())
    sides = tuple(rng.integers(1, side + 1) for side in shape)
    masks = [rng.random(shape) < 0.1 for _ in range(3)]
    for mask in masks:
        mask[tuple(rng.integers(0, shape))] = True
    made = batch(*masks)
    corners = holes.corners(made.masks, sides)
    found = holes.cut(made.images, corners, sides)
    for number, mask in enumerate(masks):
        window = [slice(None)]
        for axis, side in enumerate(sides):
            along = mask.any(axis=tuple(other for other in range(axes) if other != axis))
            middle = torch.tensor(np.flatnonzero(along).mean(), dtype=torch.float32).round().item()  # halves to even
            first = int(np.clip(middle - side // 2, 0, shape[axis] - side))
            window.append(slice(first, first + side))
        assert torch.equal(found[number], made.images[number][tuple(window)])


def test_slopes_pass_through_a_box_to_where_it_was_cut():
    images = torch.zeros(1, 1, 6, 6, requires_grad=True)
    holes.cut(images, torch.tensor([[1, 3]]), (2, 3)).sum().backward()
    assert images.grad[0, 0, 1:3, 3:6].eq(1).all()
    assert images.grad.sum() == 6


def test_a_patch_put_together_again_keeps_its_known_pixels_to_the_bit():
    made = batch(ellipsoid((8, 8), (4, 4), (2, 2)))
    put = holes.filled(made.images, made.masks, torch.full_like(made.images, 0.25))
    assert torch.equal(put[made.masks == 0], made.images[made.masks == 0])
    assert put[made.masks > 0].eq(0.25).all()
