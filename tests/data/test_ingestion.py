"""One call reads any format; what it recognised, selected and skipped is said and kept."""

import json

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from lesionforge.data import patches_file
from lesionforge.data.ingestion import Request, ingest
from lesionforge.data.recognition import source_at
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import Progress


class Heard(Progress):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


@pytest.fixture
def arrays(tmp_path):
    folder = tmp_path / "arrays"
    folder.mkdir()
    np.save(folder / "images.npy", np.random.default_rng(0).integers(-900, 300, (6, 20, 20)).astype(np.int16))
    rows = [f"p{k // 2},{5 + k},{'fine' if k else ''}" for k in range(6)]
    (folder / "table.csv").write_text("\n".join(["patient,diameter,note", *rows]) + "\n")
    (folder / "arrays.json").write_text(json.dumps({"diameter_mm": "diameter"}))
    return folder


@pytest.fixture
def volumes(tmp_path):
    """Three patients' volumes, a bright ball of 3, 4 and 5 voxels' radius in each, with its mask."""
    folder = tmp_path / "volumes"
    for name in ("image", "mask"):
        (folder / name).mkdir(parents=True)
    grid = np.indices((24, 40, 40)) - np.array([12, 20, 20])[:, None, None, None]
    for radius in (3, 4, 5):
        ball = (grid**2).sum(axis=0) <= radius**2
        voxels = np.where(ball, 40, -850).astype(np.int16)
        for name, array in (("image", voxels), ("mask", ball.astype(np.uint8))):
            image = sitk.GetImageFromArray(array)
            image.SetSpacing((0.8, 0.8, 1.0))
            sitk.WriteImage(image, folder / name / f"patient{radius}_scan.nii.gz")
    return folder


def test_arrays_are_recognised_selected_and_labelled(arrays, tmp_path):
    heard = Heard()
    labels = json.dumps({"small": "diameter_mm < 9", "large": "diameter_mm >= 9"})
    request = Request(select=("note == 'fine'",), label=labels, size=(16,))
    path = ingest(arrays, tmp_path / "out", request, progress=heard)
    patches = patches_file.load(path)
    assert patches.shape == (16, 16)
    assert patches.labels.tolist() == ["small"] * 3 + ["large"] * 2
    assert patches.table["diameter_mm"].tolist() == [6, 7, 8, 9, 10]
    assert heard.lines[0] == "recognised arrays with a mapping, arrays.json"
    record = json.loads((path / "ingest.json").read_text())
    assert [step["lesions"] for step in record["flow"]] == [6, 5, 5]


def test_volumes_are_recognised_and_cut(volumes, tmp_path):
    request = Request(select=("diameter_mm > 5",), size=(32,), settings=("slices=1", "spacing_mm=1,1"))
    patches = patches_file.load(ingest(volumes, tmp_path / "out", request, workers=1))
    assert patches.shape == (32, 32)
    assert len(patches) == 2
    assert patches.patients.nunique() == 2
    assert np.allclose(patches.spacing_mm, 1)
    radii_px = np.sqrt(patches.masks.sum(axis=(1, 2)) / np.pi)
    assert np.allclose(radii_px, [4 * 0.8, 5 * 0.8], atol=0.4)
    assert (patches.images[:, 16, 16] > 0).all()


def test_pictures_that_cannot_be_used_are_in_the_record(tmp_path):
    for name in ("a/one.png", "b/two.png", "b/broken.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), len(name), dtype=np.uint8)).save(tmp_path / "in" / name)
    (tmp_path / "in/b/broken.png").write_bytes(b"no picture")
    path = ingest(tmp_path / "in", tmp_path / "out")
    assert patches_file.load(path).labels.tolist() == ["a", "b"]
    (skip,) = json.loads((path / "ingest.json").read_text())["skipped"]
    assert skip["what"].endswith("broken.png")
    assert skip["reason"]


def test_of_several_formats_the_most_telling_is_taken(volumes, tmp_path):
    for place in ("a", "b"):
        (volumes / place).mkdir()
        Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(volumes / place / "picture.png")
    heard = Heard()
    source, about = source_at(volumes, progress=heard)
    assert type(source).__name__ == "Volume"
    assert "3 volumes" in about
    assert any("--format images" in line for line in heard.lines)
    named, about = source_at(volumes, "images")
    assert type(named).__name__ == "Images"


def test_what_cannot_be_ingested_is_explained(arrays, volumes, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, request, says in (
        (tmp_path / "none", Request(), "there is none"),
        (empty, Request(), "nothing that a format recognises"),
        (arrays, Request(format_="array"), "did you mean 'arrays'"),
        (arrays, Request(settings=("pateint=p",)), "no setting 'pateint'"),
        (volumes, Request(settings=("slcies=2",)), "did you mean 'slices'"),
        (volumes, Request(cut="largest_slice"), "did you mean 'largest_slices'"),
        (volumes, Request(select=("diameter_mm > 99",)), "no lesion is left"),
        (arrays, Request(label="patient_id"), "no column or labelling"),
        (arrays, Request(size=(50,)), "must fit inside"),
    ):
        with pytest.raises(LesionForgeError, match=says):
            ingest(path, tmp_path / "out", request, workers=1)
        assert not (tmp_path / "out").exists()
    made = ingest(arrays, tmp_path / "made")
    with pytest.raises(LesionForgeError, match="use them as they are"):
        ingest(made, tmp_path / "out")
    with pytest.raises(StorageError, match="must not exist yet"):
        ingest(arrays, made)
