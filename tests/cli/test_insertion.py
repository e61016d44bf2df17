import json

import numpy as np
import pytest

from lesionforge import cli
from lesionforge.data import patches_file
from lesionforge.data.formats.volume_file import read_voxels, write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.phantom.scans import phantom_scan
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.storage import read_json


def lesionforge(*arguments):
    """Call the command line here; its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["--quiet", *map(str, arguments)])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def copier(small_patches, tmp_path_factory):
    """Patches to copy lesions from."""
    patches = small_patches(shape=(24, 24)).with_columns(diameter_mm=8.0)
    images = np.where(patches.masks > 0, 40, patches.images).astype(np.int16)
    out = tmp_path_factory.mktemp("cli") / "real.patches"
    patches_file.save(patches.with_images(images, patches.masks, spacing_mm=1.0), out)
    return out


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    """A phantom's chest, a few slices of it."""
    made = phantom_scan("lung", patient=1, spacing_mm=(3.0, 1.6, 1.6), shape=(6, 180, 240))
    folder = tmp_path_factory.mktemp("scans")
    write_volume(folder / "p1.nii.gz", made.hu, Geometry(made.hu.shape, made.spacing_mm, made.origin_mm))
    return folder / "p1.nii.gz"


def test_insert_finds_places(copier, scan, tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--sites", 2, "--diameter-mm", 8, "--label", "benign", "--out", out, "--json"]
    assert lesionforge("insert", copier, scan, *arguments) == 0
    told = json.loads(capsys.readouterr().out)
    assert [each["asked_diameter_mm"] for each in told["lesions"].values()] == [8, 8]
    assert (out / "synthetic_scan.nii.gz").exists()


def test_insert_takes_places_in_millimetres_and_in_voxels(copier, scan, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    common = ["--diameter-mm", 8, "--label", "benign"]
    assert lesionforge("insert", copier, scan, "--at", "70.4,-10.4,1.5", *common, "--out", first) == 0
    (lesion,) = read_json(first / "synthetic_lesions.json", of="it")["lesions"]
    z, y, x = lesion["voxel_zyx"]
    assert lesionforge("insert", copier, scan, "--at-voxel", f"{x},{y},{z}", *common, "--out", second) == 0
    (again,) = read_json(second / "synthetic_lesions.json", of="it")["lesions"]
    np.testing.assert_allclose(again["position_mm"], lesion["position_mm"], atol=2)


def test_populate_makes_a_cohort(copier, scan, tmp_path, capsys):
    out = tmp_path / "cohort"
    for _ in range(2):  # the second time it has nothing to do
        assert lesionforge("populate", copier, scan.parent, "--lesions", 2, "--diameter-mm", "7-9",
                           "--label", "benign", "--out", out) == 0  # fmt: skip
        assert "2 of 2 lesions in 1 hosts" in capsys.readouterr().out
    fitted = ["--diameters-like", copier, "--label", "benign", "--out", tmp_path / "fitted"]
    assert lesionforge("populate", copier, scan.parent, *fitted) == 2  # all of one size: nothing to fit
    assert "name a range with --diameter-mm" in capsys.readouterr().err


@pytest.fixture(scope="module")
def in_painter(small_method, small_patches, tmp_path_factory):
    """A checkpoint that follows masks, trained for a moment."""
    patches = small_patches(shape=(16, 16), patients=4).with_label("benign")
    patches = patches.with_images(patches.images, patches.masks, spacing_mm=1.6)
    method = small_method("pix2pix", condition="erased", batch_size=4)
    return train(method, patches, tmp_path_factory.mktemp("trained") / "out", plan=TrainingPlan(images=4), device="cpu")


def test_insert_follows_a_mask_and_borrows_shapes(in_painter, copier, scan, tmp_path, capsys):
    voxels, geometry = read_voxels(scan)
    mask = np.zeros(voxels.shape, np.uint8)
    mask[2:4, 108:114, 162:167] = 1
    write_volume(tmp_path / "mask.nii.gz", mask, geometry)
    common = ["--device", "cpu"]
    assert lesionforge("insert", in_painter, scan, "--mask", tmp_path / "mask.nii.gz", *common,
                       "--out", tmp_path / "drawn") == 0  # fmt: skip
    record = read_json(tmp_path / "drawn" / "synthetic_lesions.json", of="it")
    (lesion,) = record["lesions"]
    area = 6 * 5 * np.prod(geometry.spacing_mm[1:])
    assert lesion["asked_diameter_mm"] == pytest.approx(2 * np.sqrt(area / np.pi))
    assert record["request"]["outlines"].startswith("given-")
    assert lesionforge("insert", in_painter, scan, "--sites", 1, "--shapes-like", copier, *common,
                       "--out", tmp_path / "like") == 0  # fmt: skip
    record = read_json(tmp_path / "like" / "synthetic_lesions.json", of="it")
    assert record["request"]["outlines"] == f"traced-{patches_file.load(copier).digest}"
    assert patches_file.load(copier).exposure.patients <= set(record["exposure"]["patients"])
    capsys.readouterr()
    for arguments in (["--mask", tmp_path / "mask.nii.gz"], ["--sites", 1, "--shapes-like", copier]):
        assert lesionforge("insert", copier, scan, *arguments, "--label", "benign", "--out", tmp_path / "new") == 2
        error = capsys.readouterr().err
        assert "do not copy" in error or "copies of lesions have outlines of their own" in error
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "say where lesions are to be"),
        (["--sites", "1", "--at", "0,0,0"], "say where lesions are to be"),
        (["--at", "0,0"], "--at must be three numbers with commas"),
        (["--at", "0,-10,1.5"], "must grow in the lungs, but site 1 lies outside"),
        (["--at", "900,0,0"], "must lie in the scan"),
        (["--sites", "1", "--label", "sold"], "a class must be named"),
        (["--sites", "1", "--diameter-mm", "1"], "3 pixels or more across"),
        (["--sites", "1", "--diameter-mm", "40"], "must fit into the 24.0 mm"),
        (["--sites", "1", "--as", "jpeg"], "--as must be one of auto, dicom, nifti"),
        (["--sites", "1", "--as", "dicom"], "a DICOM series is made from a DICOM series"),
        (["--sites", "1", "--attached", "heart"], "--attached must be one of"),
        (["--sites", "1", "--rim-mm", "-1"], "margin_mm and rim_mm must be 0 or more"),
    ],
)
def test_bad_requests_end_with_one_message_and_nothing_written(copier, scan, tmp_path, capsys, arguments, message):
    label = [] if "--label" in arguments else ["--label", "benign"]
    assert lesionforge("insert", copier, scan, *arguments, *label, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_left_alone(copier, scan, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    assert lesionforge("insert", copier, scan, "--sites", 1, "--label", "benign", "--out", tmp_path / "out") == 2
    assert "must not exist yet" in capsys.readouterr().err
    assert lesionforge("populate", copier, scan.parent, "--diameter-mm", "six", "--out", tmp_path / "new") == 2
    assert "a number, or two as 6-14, but 'six' came" in capsys.readouterr().err
