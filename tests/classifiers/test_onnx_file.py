from dataclasses import replace

import numpy as np
import pytest

from lesionforge.classifiers import onnx_file
from lesionforge.classifiers.methods.diameter_only import DiameterOnly
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.model import Model
from lesionforge.classifiers.onnx_file import write_onnx
from lesionforge.errors import LesionForgeError, StorageError

onnxruntime = pytest.importorskip("onnxruntime", reason="ONNX files need the extra 'onnx'")
onnx = pytest.importorskip("onnx", reason="ONNX files need the extra 'onnx'")


@pytest.fixture(scope="module")
def fitted(small_patches):
    """Makes a small network of a calibration."""
    train, validation = small_patches(prefix="train"), small_patches(prefix="validation", seed=1)
    method = SmallCNN(channels=(4, 4), max_images=200, batch_size=8)
    return lambda kind, seed=0: replace(method, calibration=kind).fit(train, validation=validation, seed=seed)


@pytest.mark.parametrize("kind", ["none", "temperature_and_bias", "isotonic"])
def test_the_file_says_what_the_model_says_calibrated_and_together(kind, fitted, small_patches, tmp_path):
    model = Model([fitted(kind), fitted("temperature", seed=1)])
    path = write_onnx(model, tmp_path / "model.onnx")
    asked = small_patches(prefix="asked", seed=2)
    for count in (1, len(asked)):
        patches = asked.rows(range(count))
        session = onnxruntime.InferenceSession(path)
        (found,) = session.run(None, {"images": patches.images.astype(np.float32)})
        np.testing.assert_allclose(found, model.answer(patches).probability, atol=1e-6)


def test_the_file_says_what_it_takes(fitted, tmp_path):
    path = write_onnx(Model([fitted("none")]), tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(path), full_check=True)
    said = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert said["classes"] == "['benign', 'malignant']"
    assert (said["unit"], said["shape"], said["refuses"]) == ("HU", "[8, 8]", "False")
    assert "patients_seen" not in said
    with pytest.raises(StorageError, match="must not exist yet"):
        write_onnx(Model([fitted("none")]), path)


def test_a_file_that_says_something_else_is_not_kept(fitted, tmp_path, monkeypatch):
    forward = onnx_file.Together.forward
    monkeypatch.setattr(onnx_file.Together, "forward", lambda self, images: forward(self, images * 1.01))
    with pytest.raises(LesionForgeError, match="is off by"):
        write_onnx(Model([fitted("none")]), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_what_is_no_network_cannot_be_written(small_patches, tmp_path):
    with pytest.raises(LesionForgeError, match="is none"):
        write_onnx(Model([DiameterOnly().fit(small_patches())]), tmp_path / "model.onnx")
