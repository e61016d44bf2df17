"""Every in-painting method there is, trained for a moment, puts lesions of every class into a scan."""

import numpy as np
import pytest

from lesionforge import registry
from lesionforge.errors import LesionForgeError
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.holes import InPainter
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.synthesis.insertion.into_scans import insert, with_lesions
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.painter import CheckpointPainter
from lesionforge.synthesis.insertion.sites import Site

pytestmark = pytest.mark.usefixtures("one_thread")

SHAPES = {2: (24, 24), 3: (16, 16, 16)}
SITES = [Site((60.0, -20.0, 0.0), 8.0), Site((-60.0, -20.0, 4.0), 7.0)]


def kind_of(name):
    return registry.class_named(methods, name, GenerativeMethod)


IN_PAINTERS = [name for name in registry.names(methods) if issubclass(kind_of(name), InPainter)]


@pytest.fixture(scope="module", params=[(name, axes) for name in IN_PAINTERS for axes in SHAPES], ids=str)
def painter(request, small_method, small_patches, tmp_path_factory):
    name, axes = request.param
    method = small_method(name, batch_size=4, critic_steps=1, generator_width=8, class_from_images=0, steps=2)
    patches = small_patches(shape=SHAPES[axes], patients=4, per_patient=1)
    try:
        method.check_shape(patches.shape)
    except LesionForgeError:
        pytest.skip(f"{name} makes slices alone")
    patches = patches.with_images(patches.images, patches.masks, spacing_mm=1.2)
    patches = patches if kind_of(name).conditional else patches.with_label("benign")
    out = tmp_path_factory.mktemp("trained") / "out"
    train(method, patches, out, plan=TrainingPlan(images=4), device="cpu")
    return CheckpointPainter(checkpoint.load(out))


def test_it_puts_a_lesion_of_each_class_where_it_was_asked_to(painter, chest):
    scan = chest((10, 150, 210), (2.5, 1.4, 1.4))
    made = {}
    for label in painter.labels:
        inserted = insert(scan, SITES, Manner(painter, label))
        after = with_lesions(scan, inserted)
        region = np.zeros(scan.voxels.shape, bool)
        for each, site in zip(inserted, SITES, strict=True):
            region[each.window] |= each.region
            assert each.label == label
            np.testing.assert_allclose(each.lesion.position_mm, site.position_mm, atol=4)
            assert each.facts["slices"] > 1
        np.testing.assert_array_equal(after.voxels[~region], scan.voxels[~region])
        assert (after.voxels != scan.voxels)[region].mean() > 0.5
        made[label] = after.voxels
    if len(painter.labels) > 1:
        assert (made["benign"] != made["malignant"]).any()
