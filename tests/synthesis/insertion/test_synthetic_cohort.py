import pandas as pd
import pytest

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.storage import read_json
from lesionforge.synthesis.insertion.diameters import Between
from lesionforge.synthesis.insertion.hosts import find_hosts
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.sites import SiteRules
from lesionforge.synthesis.insertion.synthetic_cohort import SyntheticCohort, make_cohort

PLAN = SyntheticCohort(5, Between(7.0, 10.0), rules=SiteRules("free"))


@pytest.fixture(scope="module")
def cases(chest, tmp_path_factory):
    """Two chests, and a scan without lungs."""
    folder = tmp_path_factory.mktemp("hosts")
    for number, name in enumerate(("jane", "john", "nobody")):
        scan = chest((8 + number, 120, 190), (2.5, 1.6, 1.6))
        voxels = scan.voxels.clip(20, 40) if name == "nobody" else scan.voxels
        write_volume(folder / f"{name}.nii.gz", voxels - (name == "nobody") * 100, scan.geometry)
    return find_hosts(folder).cases


def content(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def manner(flat_painter):
    return Manner(flat_painter(), "benign", seed=2)


@pytest.fixture(scope="module")
def made(cases, manner, tmp_path_factory):
    out = tmp_path_factory.mktemp("made") / "cohort"
    return out, make_cohort(cases, manner, PLAN, out)


def test_the_table_says_where_each_lesion_lies(made, cases):
    out, table = made
    pd.testing.assert_frame_equal(pd.read_csv(out / "synthetic_lesions.csv"), table)
    assert table["asked_diameter_mm"].between(7, 10).all()
    assert len(table) == PLAN.lesions  # those of the host without lungs went to the others
    assert table["host_patient"].nunique() == 2
    assert table["measured_diameter_mm"].sub(table["asked_diameter_mm"]).abs().max() < 2
    assert set(table["label"]) == {"benign"}
    assert set(table["painter"]) == {"flat-0123"}
    (skipped,) = read_json(out / "skipped.json", of="skips")["skipped"]
    assert skipped["reason"] == "no lung found"
    assert not any(b"jane" in each or b"john" in each or b"nobody" in each for each in content(out).values())


def test_each_host_patient_stays_out_of_the_test_set(made, cases):
    out, table = made
    patches = patches_file.load(out / "synthetic_patches")
    assert len(patches) == len(table)
    assert patches.table["host_patient"].tolist() == table["host_patient"].tolist()
    for patient in ("jane", "john", "taught"):
        with pytest.raises(LeakError):
            patches.exposure.refuse(Exposure.to([patient], []), doing="scoring")


def test_killed_and_taken_up_again_it_gives_the_same_bytes(made, cases, manner, tmp_path, stop_after, killed):
    out, _ = made
    with pytest.raises(killed):
        make_cohort(cases, manner, PLAN, tmp_path / "cohort", progress=stop_after(1))
    assert len(content(tmp_path / "cohort")) < len(content(out))
    make_cohort(cases, manner, PLAN, tmp_path / "cohort")
    assert content(tmp_path / "cohort") == content(out)
    make_cohort(cases, manner, PLAN, tmp_path / "cohort")  # nothing is left to do
    assert content(tmp_path / "cohort") == content(out)


def test_another_cohort_and_foreign_folders_are_left_alone(made, cases, manner, tmp_path):
    out, _ = made
    before = content(out)
    other = SyntheticCohort(5, Between(7.0, 11.0))
    with pytest.raises(StorageError, match="holds another synthetic cohort"):
        make_cohort(cases, manner, other, out)
    assert content(out) == before
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StorageError, match="must be new or empty"):
        make_cohort(cases, manner, PLAN, tmp_path)
    with pytest.raises(LesionForgeError, match="a cohort must have a lesion or more"):
        SyntheticCohort(0, Between(7.0, 10.0))


def test_where_no_host_can_be_used_it_says_why(cases, manner, tmp_path):
    nobody = [case for case in cases if case.name == "nobody"]
    with pytest.raises(LesionForgeError, match=r"into none it could: .*lungs"):
        make_cohort(nobody, manner, PLAN, tmp_path / "cohort")
    too_large = SyntheticCohort(1, Between(30.0, 30.0))
    with pytest.raises(LesionForgeError, match=r"must fit into the 24\.0 mm"):
        make_cohort(cases, manner, too_large, tmp_path / "large")
