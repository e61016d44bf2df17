import json
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure, patient_digest
from lesionforge.data.formats.lidc_xml import NODULE, Mark, Outline
from lesionforge.data.formats.volume_file import read_voxels, to_sitk, write_volume
from lesionforge.data.geometry import Geometry
from lesionforge.data.ingestion import Request, ingest
from lesionforge.data.lungs import lungs
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.synthesis.insertion.files import write_inserted
from lesionforge.synthesis.insertion.hosts import Host, check_inside, find_host, find_hosts, open_host, read_organ
from lesionforge.synthesis.insertion.into_scans import insert
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.sites import Site, find_sites


@pytest.fixture(scope="module")
def nifti(chest, tmp_path_factory):
    """A chest in a file whose axes run the other way round."""
    scan, folder = chest(), tmp_path_factory.mktemp("hosts")
    geometry = scan.geometry
    turned = Geometry(
        geometry.shape,
        geometry.spacing_mm,
        tuple(map(float, geometry.to_world([0, *np.subtract(geometry.shape[1:], 1)]))),
        ((0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0)),
    )
    write_volume(folder / "jane.nii.gz", scan.voxels[:, ::-1, ::-1], turned)
    return folder / "jane.nii.gz"


@pytest.fixture(scope="module")
def host(nifti):
    return find_host(nifti)


@pytest.fixture(scope="module")
def written(host, flat_painter, tmp_path_factory):
    painter = flat_painter()
    sites = find_sites(host.scan, lungs(host.scan), [8.0, 10.0])
    manner = Manner(painter, "malignant")
    inserted = insert(host.scan, sites, manner)
    out = tmp_path_factory.mktemp("written") / "out"
    record = write_inserted(host, inserted, manner, out)
    return out, record, inserted, manner


def test_the_volume_lies_as_the_hosts_file_does(nifti, written):
    out, _, inserted, _ = written
    voxels, geometry = read_voxels(out / "synthetic_scan.nii.gz")
    before, stored = read_voxels(nifti)
    marked, of_mask = read_voxels(out / "synthetic_lesions.nii.gz")
    assert geometry == stored == of_mask
    assert voxels.dtype == before.dtype
    changed = (voxels != before).sum()
    assert 0 < changed <= sum(each.region.sum() for each in inserted)
    assert [(marked == number).sum() for number in (1, 2)] == [each.lesion.mask.sum() for each in inserted]
    assert voxels[marked > 0].mean() > -200
    image = sitk.ReadImage(str(out / "synthetic_scan.nii.gz"))
    assert image.GetSize() == to_sitk(before, stored).GetSize()
    np.testing.assert_allclose(image.GetOrigin(), stored.origin_mm, atol=1e-4)


def test_the_record_says_what_was_put_where_and_names_nobody(written, host):
    out, record, inserted, manner = written
    assert json.loads((out / "synthetic_lesions.json").read_text()) == record
    assert record["synthetic"] is True
    assert record["request"]["painter"] == manner.painter.id
    assert record["host_patient"] == patient_digest(host.scan.patient)
    for row, each in zip(record["lesions"], inserted, strict=True):
        assert row["position_mm"] == list(each.site.position_mm)
        assert row["label"] == "malignant"
        assert row["measured_diameter_mm"] == pytest.approx(row["asked_diameter_mm"], abs=1.5)
        low, high = np.array(row["changed_voxels_zyx"])
        assert (low <= row["voxel_zyx"]).all()
        assert (row["voxel_zyx"] <= high).all()
    seen = Exposure.from_json(record["exposure"])
    assert patient_digest("taught") in seen.patients
    for file in out.rglob("*"):
        assert file.name.startswith("synthetic") or file.parent.name == "synthetic_patches"
        assert file.is_dir() or b"jane" not in file.read_bytes()


def test_pictures_say_that_they_are_synthetic(written):
    out, *_ = written
    with Image.open(out / "synthetic_lesion_1.png") as picture:
        assert "SYNTHETIC" in picture.text["Description"]
        assert picture.size == (3 * 320 + 8, 3 * (320 + 22))


def test_the_patches_may_not_meet_their_host_or_teachers_in_a_test(written, host):
    out, _, _, manner = written
    patches = patches_file.load(out / "synthetic_patches")
    assert len(patches) == 2
    assert patches.is_synthetic.all()
    assert set(patches.table["origin"]) == {manner.painter.id}
    assert patches.images[patches.masks > 0].mean() > -300 > patches.images[patches.masks == 0].mean()
    for patient in (host.scan.patient, "taught"):
        with pytest.raises(LeakError):
            patches.exposure.refuse(Exposure.to([patient], []), doing="scoring")
    patches.exposure.refuse(Exposure.to(["somebody else"], []), doing="scoring")


def test_nothing_is_overwritten_and_nothing_half_written(written, host, flat_painter, tmp_path):
    _, _, inserted, manner = written
    (tmp_path / "taken").mkdir()
    for out, kind, message in (
        (tmp_path / "taken", "auto", "must not exist yet"),
        (tmp_path / "new", "dicom", "a DICOM series is made from a DICOM series"),
    ):
        with pytest.raises(LesionForgeError, match=message):
            write_inserted(host, inserted, manner, out, kind=kind)
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_inserted(host, inserted, manner, tmp_path / "file" / "out")


def test_sites_lie_inside_an_organ(host, tmp_path):
    middle = Site((0.0, 0.0, 0.0), 8.0)  # between the lungs
    check_inside(host.scan, (Site((60.0, -20.0, 0.0), 8.0),), None)
    with pytest.raises(LesionForgeError, match="must grow in the lungs, but site 1 lies outside"):
        check_inside(host.scan, (middle,), None)
    marked = np.zeros(host.scan.voxels.shape, np.uint8)
    marked[:, 80:100, 115:135] = 1
    write_volume(tmp_path / "liver.nii.gz", marked, host.scan.geometry)
    organ = read_organ(tmp_path / "liver.nii.gz", host.scan)
    check_inside(host.scan, (middle,), organ)
    with pytest.raises(LesionForgeError, match="in the organ that is marked, but site 1"):
        check_inside(host.scan, (Site((60.0, -20.0, 0.0), 8.0),), organ)
    write_volume(tmp_path / "other.nii.gz", marked, host.scan.geometry.cut((0, 40, 0), marked.shape))
    with pytest.raises(LesionForgeError, match="must lie on the grid of the scan"):
        read_organ(tmp_path / "other.nii.gz", host.scan)


def test_a_host_is_one_scan_and_a_known_lesion_is_known(chest, tmp_path, host):
    assert isinstance(host, Host)
    scan = chest((10, 120, 150))
    for name in ("a", "b"):
        write_volume(tmp_path / "image" / f"{name}.nii.gz", scan.voxels, scan.geometry)
        mask = np.zeros(scan.voxels.shape, np.uint8)
        mask[4:6, 50:55, 20:25] = 1
        write_volume(tmp_path / "mask" / f"{name}.nii.gz", mask, scan.geometry)
    with pytest.raises(LesionForgeError, match="must hold one scan, but holds 2"):
        find_host(tmp_path)
    assert len(find_hosts(tmp_path).cases) == 2
    names = [case.name for case in find_hosts(tmp_path).cases]
    chosen = find_host(tmp_path, series=names[0])
    assert [lesion.mask.sum() for lesion in chosen.known] == [50]
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    with pytest.raises(LesionForgeError, match="lesions are put into scans"):
        find_hosts(tmp_path / "a.png", format_="images")


def test_read_in_again_it_does_not_pass_for_a_real_patient(written, host, tmp_path):
    out, _, _, manner = written
    read = patches_file.load(ingest(out, tmp_path / "again", Request(format_="volume", size=(24,)), workers=1))
    assert set(read.table["lesion"]) == {"1", "2"}
    assert read.is_synthetic.all()
    assert set(read.table["origin"]) == {manner.painter.id}
    assert not read.table["patient"].str.contains("jane").any()
    for patient in (host.scan.patient, "taught"):
        with pytest.raises(LeakError):
            read.exposure.refuse(Exposure.to([patient], []), doing="scoring")
    for name in ("synthetic_scan.nii.gz", "synthetic_lesions.nii.gz"):
        shutil.copy(out / name, tmp_path)
    with pytest.raises(LesionForgeError, match=r"1 synthetic, without a synthetic_lesions\.json"):
        ingest(tmp_path, tmp_path / "lost", Request(format_="volume", size=(24,)), workers=1)


def test_series_that_nobody_has_annotated_are_hosts_too(dicom_files, tmp_path):
    hu = np.full((4, 16, 16), -800)
    for number in range(2):
        dicom_files.write_series(tmp_path / f"{number}", hu, seed=number, PatientID=f"p{number}")
    first, second = find_hosts(tmp_path).cases
    mark = Mark(1, NODULE, (Outline(first.series.uids[1], 0.0, np.array([(3, 3), (3, 9), (9, 9), (9, 3)])),), {})
    (tmp_path / "reading.xml").write_bytes(dicom_files.write_reading([mark], series_uid=first.name))
    found = {case.name: case for case in find_hosts(tmp_path).cases}
    assert [len(open_host(found[case.name]).known) for case in (first, second)] == [1, 0]
    (tmp_path / "reading.xml").write_bytes(dicom_files.write_reading([mark], series_uid="1.2.3"))
    assert len(find_hosts(tmp_path).cases) == 2
