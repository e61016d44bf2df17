"""Patches of the phantom."""

from typing import Any

import numpy as np
import pytest

from lesionforge.data.patches import Patches
from lesionforge.data.phantom import phantom_patches
from lesionforge.errors import LesionForgeError


@pytest.fixture(scope="module")
def lung() -> Patches:
    return phantom_patches("lung", patients=24, seed=1, difficulty=0.0)


@pytest.fixture(scope="module")
def liver() -> Patches:
    return phantom_patches("liver", patients=24, seed=1, difficulty=0.0)


def test_table_says_all_that_is_known(lung: Patches) -> None:
    assert lung.images.dtype == np.int16
    assert lung.shape == (64, 64)
    assert lung.classes == ("non-solid", "solid")
    assert lung.patients.nunique() == 24
    assert lung.patients.iloc[0] == "phantom-lung-1-0000"
    assert not lung.is_synthetic.any()
    table = lung.table
    drawn = {"texture", "attenuation_hu", "margin_mm", "lobulation", "spiculation", "kernel", "slice_thickness_mm"}
    assert drawn | {"noise_hu", "diameter_mm", "position_x_mm"} <= set(table)
    assert set(table.texture) <= {"solid", "part-solid", "ground-glass"}
    assert ((table.texture == "solid") == (table.label == "solid")).all()
    assert table.groupby("patient")[["kernel", "noise_hu", "spacing_x_mm"]].nunique().max().max() == 1


def test_patients_are_the_same_however_many_are_asked_for(lung: Patches) -> None:
    few = phantom_patches("lung", patients=3, seed=1, difficulty=0.0)
    assert np.array_equal(few.images, lung.images[: len(few)])
    assert few.table.equals(lung.table.iloc[: len(few)].reset_index(drop=True))
    assert not np.array_equal(phantom_patches("lung", patients=1, seed=2).images[0], few.images[0])


@pytest.mark.parametrize("kind", ["lung", "liver"])
def test_masks_have_the_diameters_of_the_table(kind: str, request: pytest.FixtureRequest) -> None:
    patches: Patches = request.getfixturevalue(kind)
    assert patches.masks is not None
    area = patches.masks.sum(axis=(1, 2)) * patches.spacing_mm.prod(axis=1)
    measured = 2 * np.sqrt(area / np.pi)
    assert np.abs(measured - patches.table.diameter_mm).max() < 0.5 * patches.spacing_mm.max()
    assert (patches.masks[:, 32, 32] == 1).all()


def middle(patches: Patches) -> np.ndarray:
    """Median intensity of each lesion's inner half."""
    assert patches.masks is not None
    y, x = np.indices(patches.shape) - 32
    radius = patches.table.diameter_mm.to_numpy() / patches.spacing_mm[:, 0] / 2
    inner = np.hypot(y, x)[None] <= 0.6 * radius[:, None, None]
    return np.array([np.median(image[here]) for image, here in zip(patches.images, inner, strict=True)])


def test_nodules_have_the_attenuation_of_their_texture(lung: Patches) -> None:
    table, hu = lung.table, middle(lung)
    large = (table.diameter_mm > 7).to_numpy()
    assert (hu[large & (table.texture == "solid") & (table.calcification_hu == 0)] > -250).all()
    assert (np.abs(hu[large & (table.texture == "ground-glass")] + 620) < 250).all()
    lung_hu = np.array([np.median(image[image < -600]) for image in lung.images])
    assert ((lung_hu > -980) & (lung_hu < -700)).all()


def test_liver_lesions_look_as_the_paper_says(liver: Patches) -> None:
    assert liver.classes == ("cyst", "hemangioma", "metastasis")
    hu = middle(liver)
    assert np.abs(np.median(hu[liver.labels == "cyst"])) < 25
    assert 35 < np.median(hu[liver.labels == "metastasis"]) < 95
    assert liver.masks is not None
    # Nodules of the haemangioma's rim are brighter than the darkest of its middle by far.
    smooth = liver.images.astype(float).reshape(len(liver), 16, 4, 16, 4).mean(axis=(2, 4))
    inside = liver.masks.reshape(len(liver), 16, 4, 16, 4).mean(axis=(2, 4)) == 1
    contrast = np.array([np.ptp(s[i]) for s, i in zip(smooth, inside, strict=True)])
    assert np.median(contrast[liver.labels == "hemangioma"]) > 2 * np.median(contrast[liver.labels == "cyst"])
    share = liver.table.diameter_mm / (64 * liver.spacing_mm[:, 0])
    assert share.between(0.45, 0.7).all()


def test_volumes_show_the_same_lesion_in_their_middle_slice() -> None:
    plane = phantom_patches("lung", patients=2, seed=5, size=48, lesions_per_patient=(1, 1))
    volume = phantom_patches("lung", patients=2, seed=5, size=(9, 48, 48), lesions_per_patient=(1, 1))
    assert volume.shape == (9, 48, 48)
    assert volume.masks is not None
    assert plane.masks is not None
    assert np.array_equal(volume.masks[:, 4], plane.masks)
    assert np.allclose(volume.spacing_mm[:, 0], volume.table.slice_thickness_mm)
    noise = plane.table.noise_hu.to_numpy()[:, None, None]
    assert (np.abs(volume.images[:, 4].astype(float) - plane.images) / noise).mean() < 1.5
    assert (volume.masks.sum(axis=(2, 3)).argmax(axis=1) - 4 <= 1).all()


def test_liver_volumes_span_the_lesion_along_every_axis() -> None:
    volume = phantom_patches("liver", patients=1, size=(16, 32, 32), lesions_per_patient=(1, 1))
    field = volume.spacing_mm[0] * volume.shape
    assert np.allclose(field, field[0])
    assert volume.masks is not None
    assert volume.masks[0].any(axis=(1, 2)).mean() > 0.3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "brain"}, "kind of phantom"),
        ({"patients": 0}, "1 or more patients"),
        ({"size": 8}, "size must be 16 or more"),
        ({"size": (0, 32, 32)}, "size must be 16 or more"),
        ({"size": (32, 32)}, "size must be 16 or more"),
        ({"difficulty": -0.1}, "difficulty must lie between 0 and 1"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(LesionForgeError, match=message):
        phantom_patches(**{"patients": 1, **arguments})
