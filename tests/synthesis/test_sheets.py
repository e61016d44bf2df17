import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lesionforge.data import patches_file
from lesionforge.data.contact_sheet import contact_sheet
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.synthesis.sample import sample
from lesionforge.synthesis.sampler import Sampler
from lesionforge.synthesis.sheets import save_neighbours, save_sheet

pytestmark = pytest.mark.usefixtures("one_thread")

LUNG = WINDOWS["lung"]


@pytest.fixture(scope="module")
def real(small_patches):
    return small_patches(shape=(16, 16))


@pytest.fixture(scope="module")
def trained_on(real):
    return real.with_label("malignant")


@pytest.fixture(scope="module")
def opened(untrained, trained_on):
    return untrained(DCGAN(batch_size=8, generator_width=16, discriminator_width=4), trained_on)


@pytest.fixture
def copying(opened, trained_on, monkeypatch):
    """A sampler whose checkpoint gives back its training images, turned over."""

    samples = sample(opened, 8)

    def parts(_sampler, count):
        yield samples.with_images(np.flip(trained_on.images, axis=1)).rows(range(count))

    monkeypatch.setattr(Sampler, "parts", parts)
    return Sampler(opened)


def described(file):
    with Image.open(file) as picture:
        return picture.size, picture.text["Description"]


def test_a_sheet_lies_within_the_patches_and_says_what_it_is(opened, tmp_path):
    samples = sample(opened, 6)
    out = save_sheet(samples, tmp_path / "out", name="six", window=LUNG, columns=3, captions=list("abcdef"))
    assert patches_file.load(out).digest == samples.digest
    assert sorted(file.name for file in out.iterdir()) == [
        "patches.json",
        "synthetic_images.npy",
        "synthetic_six.png",
        "synthetic_table.csv",
    ]
    (width, height), about = described(out / "synthetic_six.png")
    assert (width, height) == (3 * 130 + 2, 2 * 144 + 2)
    assert about == f"Synthetic: made by {opened.id}. No patient's image."
    (out / "synthetic_six.png").write_bytes(b"another picture")
    with pytest.raises(StorageError):
        patches_file.load(out)


def test_each_sample_lies_beside_its_neighbour(copying, opened, real, trained_on, tmp_path):
    facts = save_neighbours(copying, 5, real, tmp_path / "out", shift_px=2)
    assert facts == {
        "samples": 5,
        "training_patches": 8,
        "training_images_missing": 0,
        "least_distance": 0,
        "median_distance": 0,
        "median_distance_between_patients": pytest.approx(200, abs=30),
    }
    table = pd.read_csv(tmp_path / "out" / "neighbours.csv", keep_default_na=False)
    assert [*table] == ["sample", "row", "distance", "flipped", "shift_y_px", "shift_x_px"]
    assert table["row"].tolist() == np.flatnonzero(real.labels == "malignant")[:5].tolist()
    assert set(table["flipped"]) == {"y"}
    size, about = described(tmp_path / "out" / "synthetic_beside_real.png")
    assert size == (8 * 130 + 2, 2 * 144 + 2)
    assert about.startswith(f"Synthetic patches made by {opened.id}")
    assert patches_file.load(tmp_path / "out").is_synthetic.all()
    written = b"".join(file.read_bytes() for file in (tmp_path / "out").iterdir())
    assert not any(patient.encode() in written for patient in real.patients)


def test_in_the_picture_a_neighbour_lies_as_its_sample_does(copying, real, tmp_path):
    save_neighbours(copying, 2, real, tmp_path / "out", shift_px=2)
    with Image.open(tmp_path / "out" / "synthetic_beside_real.png") as picture:
        sheet = np.asarray(picture)
    tiles = [sheet[2:130, 2 + 130 * k : 130 + 130 * k] for k in range(4)]
    np.testing.assert_array_equal(tiles[0], tiles[1])
    np.testing.assert_array_equal(tiles[2], tiles[3])
    expected = contact_sheet(np.flip(real.with_label("malignant").images[:1], 1), LUNG, zoom=8)
    np.testing.assert_array_equal(tiles[0], expected[2:-2, 2:-2][:128, :128])


def test_training_images_that_are_not_given_are_counted(opened, trained_on, tmp_path):
    facts = save_neighbours(Sampler(opened), 3, trained_on.rows([0, 1, 5]), tmp_path / "out")
    assert (facts["training_patches"], facts["training_images_missing"]) == (3, 5)


def test_of_one_patient_there_is_no_distance_between_patients(opened, trained_on, tmp_path):
    facts = save_neighbours(Sampler(opened), 3, trained_on.rows([0, 1]), tmp_path / "out")
    assert facts["median_distance_between_patients"] is None


def test_other_patches_are_refused_and_leave_nothing(opened, small_patches, trained_on, tmp_path):
    other = small_patches(shape=(16, 16), prefix="other", seed=1)
    with pytest.raises(LesionForgeError, match="none of these"):
        save_neighbours(Sampler(opened), 3, other, tmp_path / "out")
    with pytest.raises(LesionForgeError, match="one size"):
        save_neighbours(Sampler(opened), 3, trained_on.centre_crop(8), tmp_path / "out")
    with pytest.raises(LesionForgeError, match="1 or more"):
        save_neighbours(Sampler(opened), 0, trained_on, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_refused_before_the_search(opened, real, tmp_path):
    class Untouchable:
        def __getattr__(self, name):
            pytest.fail("the search began")

    with pytest.raises(StorageError, match="must not exist"):
        save_neighbours(Sampler(opened), 3, Untouchable(), tmp_path)
