import numpy as np
import pytest

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.synthesis.insertion.copy_paste import CopyPaste
from lesionforge.synthesis.insertion.painter import LESION, CheckpointPainter

pytestmark = pytest.mark.usefixtures("one_thread")

SMALL = {"generator_width": 4, "discriminator_width": 4}


@pytest.fixture(scope="module")
def patches(small_patches):
    return small_patches(shape=(16, 16))


@pytest.fixture(scope="module")
def painter(untrained, patches):
    return CheckpointPainter(untrained(Pix2Pix(condition="erased", **SMALL), patches.with_label("benign")))


def hosts(patches, lesions):
    rows = patches.rows(np.arange(len(lesions)))
    return rows.with_columns(**{LESION: lesions})


def test_a_checkpoint_says_what_it_paints(painter, patches):
    assert painter.shape == (16, 16)
    assert painter.spacing_mm == (0.7, 0.7)
    assert painter.unit == "HU"
    assert painter.labels == ("benign",)
    assert painter.exposure == patches.with_label("benign").exposure
    assert painter.checked_label(None) == "benign"


def test_a_lesion_does_not_depend_on_what_is_painted_beside_it(painter, patches):
    together = painter.paint(hosts(patches, [7, 3, 7, 5]), label="benign", seed=2)
    alone = painter.paint(hosts(patches, [7, 3, 7, 5]).rows([1]), label="benign", seed=2)
    np.testing.assert_array_equal(together.images[1], alone.images[0])
    np.testing.assert_array_equal(together.masks, patches.masks[:4])
    assert together.table[LESION].tolist() == [7, 3, 7, 5]


def test_slices_of_one_lesion_share_their_random_numbers(painter, patches):
    """The same surroundings in two slices get the same lesion; in two lesions they do not."""
    same = patches.rows([0, 0, 0]).with_columns(**{LESION: [4, 4, 9]})
    painted = painter.paint(same, label="benign", seed=0).images
    np.testing.assert_array_equal(painted[0], painted[1])
    assert (painted[0] != painted[2]).any()


def test_what_lies_under_the_mask_is_not_seen(painter, patches):
    rows = hosts(patches, [1, 2])
    other = np.where(rows.masks > 0, 300, rows.images).astype(np.int16)
    changed = Patches(other, rows.table, masks=rows.masks)
    first, second = (painter.paint(each, label="benign", seed=0).images for each in (rows, changed))
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("condition", ["mask", "edges"])
def test_methods_that_see_something_else_are_refused(untrained, patches, condition):
    checkpoint = untrained(Pix2Pix(condition=condition, **SMALL), patches.with_label("benign"))
    with pytest.raises(LesionForgeError, match="shown its surroundings and nothing of the lesion, but pix2pix"):
        CheckpointPainter(checkpoint)


def test_methods_that_see_nothing_are_refused(untrained, patches):
    checkpoint = untrained(DCGAN(generator_width=8, discriminator_width=4), patches.with_label("benign"))
    with pytest.raises(LesionForgeError, match="but dcgan with these settings is not"):
        CheckpointPainter(checkpoint)


def test_a_checkpoint_must_know_its_spacing(painter):
    known = painter.checkpoint
    subject = type(known.subject)(**vars(known.subject) | {"spacing_mm": (None, None)})
    unknown = Checkpoint(known.id, known.method, subject, known.images_seen, known.generator)
    with pytest.raises(LesionForgeError, match="must know how far apart its pixels are"):
        CheckpointPainter(unknown)


def test_a_copy_has_the_pixels_of_a_lesion_of_about_the_size(patches):
    copier = CopyPaste(patches, choice=2)
    wanted = hosts(patches, [1, 2, 3])
    painted = copier.paint(wanted, label="malignant", seed=0)
    of_class = patches.with_label("malignant")
    for number in range(3):
        image, mask = painted.images[number], painted.masks[number] > 0
        sources = [row for row in range(len(of_class)) if (of_class.images[row] == image).all()]
        assert len(sources) == 1
        np.testing.assert_array_equal(mask, of_class.masks[sources[0]] > 0)
        distance = np.abs(of_class.table["diameter_mm"] - wanted.table["diameter_mm"][number])
        assert distance[sources[0]] <= sorted(distance)[1]
    again = copier.paint(wanted, label="malignant", seed=0)
    np.testing.assert_array_equal(painted.images, again.images)


def test_beyond_a_lesions_patch_the_host_goes_on(patches):
    spacing = np.where(np.arange(len(patches)) % 2, 0.7, 1.4)  # every other patch is smaller in mm than the median's
    copier = CopyPaste(patches.with_images(patches.images, patches.masks, spacing_mm=spacing), choice=1)
    flat = Patches(np.full_like(patches.images[:4], -5000), patches.table[:4], masks=patches.masks[:4])
    painted = copier.paint(flat.with_columns(**{LESION: range(4)}), label="benign", seed=0).images
    assert set(np.unique(painted == -5000, axis=None).tolist()) == {True, False}
    assert (painted[:, 7:9, 7:9] != -5000).all()


def test_a_copy_is_as_large_in_millimetres_at_another_spacing(small_patches):
    rows = small_patches(shape=(24, 24), per_patient=3)
    fine = rows.with_images(rows.images, rows.masks, spacing_mm=np.where(np.arange(len(rows)) % 3, 1.0, 0.5))
    copier = CopyPaste(fine)
    assert copier.spacing_mm == (1.0, 1.0)
    for row in (0, 1):
        _, mask, _ = copier._on_grid(row)
        own = fine.masks[row].sum() * np.prod(fine.spacing_mm[row])
        assert mask.sum() == pytest.approx(own, rel=0.2)


def test_lesions_to_copy_need_masks_and_sizes(patches):
    for lacking in (
        Patches(patches.images, patches.table),
        Patches(patches.images, patches.table.assign(diameter_mm=np.nan), masks=patches.masks),
        Patches(patches.images, patches.table.assign(spacing_y_mm=np.nan), masks=patches.masks),
    ):
        with pytest.raises(LesionForgeError, match="must be real and have masks, diameters and a spacing"):
            CopyPaste(lacking)
