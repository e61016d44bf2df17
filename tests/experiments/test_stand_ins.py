import numpy as np

from lesionforge.data.phantom import phantom_patches
from lesionforge.experiments.stand_ins import candidates, textures


def test_candidates_have_a_nodule_in_the_middle_or_none_at_all():
    patches = candidates(patients=4, size=40)
    with_nodule = patches.labels == "nodule"
    assert set(patches.labels) == {"nodule", "no nodule"}
    assert patches.masks[with_nodule, 20, 20].all()
    assert not patches.masks[~with_nodule].any()
    assert patches.shape == (40, 40)
    assert set(patches.patients[~with_nodule]) <= set(patches.patients[with_nodule])


def test_a_class_stands_for_each_texture():
    classes = {"ground-glass": "AIS", "part-solid": "MIA", "solid": "IAC"}
    patches = textures(classes, patients=6, size=16)
    assert [classes[texture] for texture in patches.table["texture"]] == patches.labels.tolist()
    same = phantom_patches("lung", patients=6, size=16, difficulty=0.6, shares={"non-solid": 0.7, "solid": 0.3})
    assert np.array_equal(patches.images, same.images)
