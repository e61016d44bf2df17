import numpy as np
import pytest

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure, patient_digest
from lesionforge.data.patches import Patches
from lesionforge.errors import LeakError, LesionForgeError
from lesionforge.storage import read_json
from lesionforge.synthesis.insertion.diameters import Between
from lesionforge.synthesis.insertion.hosts import find_hosts, open_host
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.synthetic_cohort import SyntheticCohort, make_cohort

SIDE = 32


def patches_with(own_px, *, centre_hu=-820, prefix="host"):
    """Lung with noise and a lesion of these radii, or none, in the middle of each patch."""
    rng = np.random.default_rng(0)
    images = rng.normal(-820, 20, (len(own_px), SIDE, SIDE)).round().astype(np.int16)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    masks = np.stack([y**2 + x**2 <= radius**2 if radius else np.zeros_like(y) for radius in own_px]).astype(np.uint8)
    images[masks > 0] = 60
    images[:, 13:20, 13:20] += centre_hu + 820
    patients = [f"{prefix}-{number}" for number in range(len(own_px))]
    return Patches.of(images, patient=patients, label="real", spacing_mm=1.0, masks=masks)


def hosts_of(patches, folder):
    patches_file.save(patches, folder / "hosts.patches")
    return find_hosts(folder / "hosts.patches").cases


def made(patches, manner, folder, *, lesions):
    plan = SyntheticCohort(lesions, Between(8.0, 8.0))
    return make_cohort(hosts_of(patches, folder), manner, plan, folder / "out"), folder / "out"


@pytest.fixture
def manner(flat_painter):
    return Manner(flat_painter(), "benign", seed=1)


def test_a_lesion_replaces_a_smaller_one_or_grows_where_none_is(manner, tmp_path):
    hosts = patches_with([2, 0, 3])
    table, out = made(hosts, manner, tmp_path, lesions=3)
    patches = patches_file.load(out / "synthetic_patches")
    assert len(table) == len(patches) == 3
    assert patches.is_synthetic.all()
    assert patches.images[patches.masks > 0].mean() > -100
    around = patches.images[:, :4].astype(float)
    assert around.mean() == pytest.approx(-820, abs=5)
    assert not (patches.images[patches.masks == 0] > 0).sum() > 40 * 3  # nothing of the old lesions but the new's rim
    assert set(table["host_patient"]) == {patient_digest(name) for name in hosts.patients}
    for pixels in hosts.table["source_pixels"]:
        with pytest.raises(LeakError):
            patches.exposure.refuse(Exposure.to([], [pixels]), doing="scoring")
    written = {file.name for folder in (out / "hosts").iterdir() for file in folder.iterdir()}
    assert written == {"synthetic_patches", "synthetic_lesions.json"}


def test_more_lesions_than_patches_take_turns(manner, tmp_path):
    table, out = made(patches_with([0, 2]), manner, tmp_path, lesions=5)
    assert len(table) == 5
    assert table["folder"].str.replace(r"-\d$", "", regex=True).nunique() == 2
    images = patches_file.load(out / "synthetic_patches").images
    assert len(np.unique(images, axis=0)) == 5  # no two alike


def test_hosts_that_do_not_fit_leave_their_lesions_to_others(manner, tmp_path):
    table, out = made(patches_with([6, 2, 6]), manner, tmp_path, lesions=3)
    assert len(table) == 3
    assert table["host_patient"].nunique() == 1
    skipped = read_json(out / "skipped.json", of="skips")
    assert [skip["reason"] for skip in skipped["skipped"]] == ["no room in a patch"] * 2
    assert skipped["lesions_without_room"] == 0


def test_patches_that_cannot_be_hosts_say_why(manner, flat_painter, tmp_path):
    with pytest.raises(LesionForgeError, match="must show lung in its middle"):
        made(patches_with([0], centre_hu=40), manner, tmp_path / "tissue", lesions=1)
    wide = Manner(flat_painter(shape=(48, 48)), "benign")
    with pytest.raises(LesionForgeError, match="as large as what the painter sees"):
        made(patches_with([2]), wide, tmp_path / "small", lesions=1)
    bare = patches_with([2])
    bare = bare.with_columns(spacing_y_mm=np.nan)
    with pytest.raises(LesionForgeError, match="must have a spacing"):
        hosts_of(bare, tmp_path)
    plan = SyntheticCohort(1, Between(8.0, 8.0), kind="nifti")
    with pytest.raises(LesionForgeError, match="of patches come patches, but nifti"):
        make_cohort(hosts_of(patches_with([2]), tmp_path / "kind"), manner, plan, tmp_path / "kind" / "out")


def test_a_volume_is_a_host_for_volumes(flat_painter, tmp_path):
    rng = np.random.default_rng(0)
    images = rng.normal(-820, 20, (2, 20, 24, 24)).astype(np.float32)
    patches = Patches.of(images, patient=["a", "b"], spacing_mm=1.0)
    (case, _) = hosts_of(patches, tmp_path)
    assert open_host(case).known == ()
    manner = Manner(flat_painter(shape=(20, 24, 24), spacing_mm=(1.0, 1.0, 1.0)), "benign")
    table = make_cohort([case], manner, SyntheticCohort(1, Between(7.0, 7.0)), tmp_path / "out")
    assert patches_file.load(tmp_path / "out" / "synthetic_patches").shape == (20, 24, 24)
    assert table["measured_diameter_mm"][0] == pytest.approx(7, abs=1)
