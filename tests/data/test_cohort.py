"""Cohorts scan by scan: the same patches however often the work is killed, and however many work at it."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data import patches_file
from lesionforge.data.cohort import CohortPlan, ingest
from lesionforge.data.source import Found, Skip
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError
from lesionforge.progress import TerminalProgress

# In a module of its own: other processes must be able to import it.
MODULE = '''
"""Cases that are computed, and a cutter that draws at random."""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.cutter import Cut, Cutter
from lesionforge.data.geometry import Geometry
from lesionforge.data.scan import Annotations, Lesion, Scan
from lesionforge.data.source import Case
from lesionforge.errors import UnfitDataError

POINTS_ALONE = -2000  # a voxel that says that the scan's lesions have no outlines
GEOMETRY = Geometry((6, 12, 12), (2.0, 1.0, 1.0), (0.0, 0.0, 0.0))


@dataclass(frozen=True)
class Computed(Case):
    number: int
    unit: str = "HU"
    broken: str = ""
    outlined: bool = True

    @property
    def name(self):
        return f"case-{self.number}"

    def annotations(self):
        if self.broken == "annotations":
            raise UnfitDataError("slices are missing", "slices 3 to 5 are missing")
        mask = np.ones((1, 2, 2 + self.number % 3), dtype=bool)
        lesions = [
            Lesion.from_mask(mask, (2, 4, k), GEOMETRY, name=f"lesion-{k}", label="ab"[k % 2], facts={"readers": k})
            for k in range(self.number % 4)
        ]
        facts = {"kernel": "B"} if self.number % 2 else {"slice_thickness_mm": 2.0}
        return Annotations(f"patient-{self.number // 2}", self.name, GEOMETRY, tuple(lesions), facts)

    def scan(self):
        if self.broken == "voxels":
            raise UnfitDataError("cut short", "a slice is cut short")
        voxels = np.random.default_rng(self.number).integers(-1000, 400, GEOMETRY.shape).astype(np.int16)
        voxels[0, 0, 0] = voxels[0, 0, 0] if self.outlined else POINTS_ALONE
        return Scan(voxels, GEOMETRY, f"patient-{self.number // 2}", self.name, self.unit)


@dataclass(frozen=True)
class Drawing(Cutter):
    negatives: int = 1

    @property
    def shape(self):
        return (4, 4)

    def cut(self, scan, lesions, *, marks, rng):
        assert {each.name for each in lesions} <= {each.name for each in marks}
        for lesion in [*lesions, *[None] * self.negatives]:
            z, y, x = (int(rng.integers(0, n - 4)) for n in scan.geometry.shape)
            image = scan.voxels[z, y : y + 4, x : x + 4]
            mask = lesion.mask_within((z, y, x), (1, 4, 4))[0] if lesion else np.zeros((4, 4), dtype=bool)
            mask = None if lesion and scan.voxels.min() == POINTS_ALONE else mask
            position = tuple(scan.geometry.to_world((z, y + 2, x + 2)))
            yield Cut(lesion, image, mask, (1.0, 1.0), position, {} if lesion else {"label": "none"})
'''


@pytest.fixture
def computed(tmp_path, monkeypatch):
    (tmp_path / "computed_cases.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("computed_cases")


def test_a_cohort_becomes_patches_with_a_record(computed, tmp_path, capsys):
    cases = [computed.Computed(number, broken={5: "annotations", 7: "voxels"}.get(number, "")) for number in range(9)]
    found = Found(cases, [Skip("a/file", "not a CT")])
    plan = CohortPlan(computed.Drawing(), select=("readers >= 1",))
    path = ingest(found, plan, tmp_path / "out", about="9 computed scans")
    patches = patches_file.load(path)
    # Lesions 1 and 2 of cases with number % 4 of 2 and 3: cases 2, 3, 6 and (broken) 7; and a negative for each scan.
    assert patches.table["scan"].tolist() == ["case-2"] * 2 + ["case-3"] * 3 + ["case-6"] * 2
    assert patches.labels.tolist() == ["b", "none", "b", "a", "none", "b", "none"]
    assert patches.patients.tolist()[:3] == ["patient-1"] * 3
    assert patches.table["kernel"].tolist() == [""] * 2 + ["B"] * 3 + [""] * 2
    assert patches.masks is not None
    assert not patches.masks[patches.labels == "none"].any()
    record = json.loads((path / "ingest.json").read_text())
    assert record["found"] == "9 computed scans"
    assert [(step["lesions"], step["patients"]) for step in record["flow"]] == [(11, 3), (6, 2)]
    assert [(skip["what"], skip["reason"]) for skip in record["skipped"]] == [
        ("a/file", "not a CT"),
        ("case-5", "slices are missing"),
        ("case-7", "cut short"),
    ]
    assert record["plan"]["cutter"]["negatives"] == 1
    assert [each.name for each in tmp_path.iterdir() if "ingest" in each.name] == []


def test_masks_that_not_all_have_are_left_out_and_that_is_told(computed, tmp_path, capsys):
    cases = [computed.Computed(2), computed.Computed(3, outlined=False)]
    path = ingest(Found(cases, []), CohortPlan(computed.Drawing()), tmp_path / "out", progress=TerminalProgress())
    assert patches_file.load(path).masks is None
    assert "masks are left out: 3 of 7 patches are of lesions without an outline" in capsys.readouterr().err
    assert json.loads((path / "ingest.json").read_text())["patches_without_outline"] == 3


def test_killed_at_any_scan_it_goes_on_to_the_same_patches(computed, tmp_path, stop_after, killed):
    found = Found([computed.Computed(number) for number in range(8)])
    plan = CohortPlan(computed.Drawing())
    whole = patches_file.load(ingest(found, plan, tmp_path / "whole"))
    for _ in range(13):
        with pytest.raises(killed):
            ingest(found, plan, tmp_path / "killed", progress=stop_after(1))
        assert not (tmp_path / "killed").exists()
    # Every kill left its scan done: 8 surveyed, and 6 with lesions cut.
    counting = stop_after()
    resumed = patches_file.load(ingest(found, plan, tmp_path / "killed", progress=counting))
    assert counting.seen == 1
    assert resumed.table.equals(whole.table)
    assert np.array_equal(resumed.images, whole.images)


def test_two_processes_make_what_one_makes_and_another_seed_does_not(computed, tmp_path):
    found = Found([computed.Computed(number) for number in range(6)])
    one = patches_file.load(ingest(found, CohortPlan(computed.Drawing()), tmp_path / "one"))
    two = patches_file.load(ingest(found, CohortPlan(computed.Drawing()), tmp_path / "two", workers=2))
    other = patches_file.load(ingest(found, CohortPlan(computed.Drawing(), seed=1), tmp_path / "other"))
    assert np.array_equal(one.images, two.images)
    assert one.table.equals(two.table)
    assert not np.array_equal(one.images, other.images)
    # A scan's patches do not depend on the others.
    alone = patches_file.load(ingest(Found(found.cases[3:4]), CohortPlan(computed.Drawing()), tmp_path / "alone"))
    assert np.array_equal(alone.images, one.rows(one.table["scan"] == "case-3").images)


def test_what_other_work_left_is_not_taken_up(computed, tmp_path, stop_after, killed):
    found = Found([computed.Computed(number) for number in range(6)])
    with pytest.raises(killed):
        ingest(found, CohortPlan(computed.Drawing(negatives=3)), tmp_path / "out", progress=stop_after(9))
    patches = patches_file.load(ingest(found, CohortPlan(computed.Drawing()), tmp_path / "out"))
    assert (patches.labels == "none").sum() == 4  # a negative for each scan with lesions


def test_bad_cohorts_end_in_one_message(computed, tmp_path):
    good, broken = computed.Computed(3), computed.Computed(5, broken="annotations")
    cutter = computed.Drawing()
    with pytest.raises(UnfitDataError, match="3 to 5 are missing"):
        ingest(Found([good, broken]), CohortPlan(cutter, strict=True), tmp_path / "out")
    with pytest.raises(LesionForgeError, match=r"none was found \(skipped: 1 slices are missing"):
        ingest(Found([broken]), CohortPlan(cutter), tmp_path / "out")
    with pytest.raises(LesionForgeError, match="none was found"):
        ingest(Found([computed.Computed(4)]), CohortPlan(cutter), tmp_path / "out")
    with pytest.raises(LesionForgeError, match="a patch must be cut from one scan at least"):
        ingest(Found([computed.Computed(3, broken="voxels")]), CohortPlan(cutter), tmp_path / "out")
    with pytest.raises(LesionForgeError, match="one unit"):
        ingest(Found([good, computed.Computed(6, unit="u8")]), CohortPlan(cutter), tmp_path / "out")
    with pytest.raises(LesionForgeError, match="no lesion is left"):
        ingest(Found([good]), CohortPlan(cutter, select=("diameter_mm > 99",)), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(StorageError, match="must not exist yet"):
        ingest(Found([good]), CohortPlan(cutter), tmp_path / "out")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("name", ["images.npy", "masks.npy"])
def test_a_disk_that_is_full_when_patches_are_joined_is_explained(computed, tmp_path, name):
    (tmp_path / ".out.ingest").mkdir()
    (tmp_path / ".out.ingest" / name).symlink_to("/dev/full")
    with pytest.raises(StorageError, match="disk is full"):
        ingest(Found([computed.Computed(3)]), CohortPlan(computed.Drawing()), tmp_path / "out")
    assert not (tmp_path / "out").exists()
