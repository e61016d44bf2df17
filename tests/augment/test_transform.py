import tracemalloc

import numpy as np
import pandas as pd
import pytest

from lesionforge.augment.affine import Chain, Rotate, Scale
from lesionforge.augment.transform import transformed
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError


def patches(count=3, shape=(21, 21)):
    images = np.random.default_rng(0).integers(-1000, 400, (count, *shape)).astype(np.int16)
    names = [f"p{i}" for i in range(count)]
    return Patches.of(images, patient=names, spacing_mm=0.7, masks=(images > 0).astype(np.uint8))


def poses(count):
    return pd.DataFrame({"rotation_deg": np.linspace(0, 170, count), "scale": np.linspace(0.8, 1.2, count)})


def test_rows_are_changed_in_chunks_as_one_by_one(monkeypatch):
    monkeypatch.setattr("lesionforge.augment.transform.CHUNK_VOXELS", 4 * 21 * 21)
    source, parameters, rows = patches(), poses(10), np.arange(10) % 3
    chain = Chain((Rotate(), Scale()), output_size=16)
    result = transformed(source, chain, parameters, rows=rows)
    for i, row in enumerate(rows):
        image, mask = chain.apply(source.images[[row]], source.masks[[row]], parameters.iloc[[i]])
        np.testing.assert_array_equal(result.images[i], image[0])
        np.testing.assert_array_equal(result.masks[i], mask[0])


def test_identity_spacing_and_parameters_go_into_the_table():
    source, parameters, rows = patches(), poses(5), np.array([2, 0, 0, 1, 2])
    result = transformed(source, Scale(), parameters, rows=rows)
    kept = ["patient", "origin", "source_pixels", "scan", "label"]
    pd.testing.assert_frame_equal(result.table[kept], source.table[kept].iloc[rows].reset_index(drop=True))
    expected = 0.7 / np.tile(parameters["scale"].to_numpy()[:, None], 2)
    np.testing.assert_allclose(result.spacing_mm, expected)
    np.testing.assert_array_equal(result.table["scale"], parameters["scale"])
    np.testing.assert_array_equal(result.table["source_row"], rows)
    assert "rotation_deg" not in result.table
    assert result.exposure == source.exposure


def test_parameters_cannot_rename_a_patient():
    source, parameters = patches(), poses(3).assign(patient="other", source_pixels="other")
    assert transformed(source, Scale(), parameters).exposure == source.exposure


def test_every_row_once_without_a_selection():
    source = patches()
    result = transformed(source, Rotate(), pd.DataFrame({"rotation_deg": [0.0, 0.0, 180.0]}))
    np.testing.assert_array_equal(result.images[:2], source.images[:2])
    np.testing.assert_array_equal(result.images[2], source.images[2, ::-1, ::-1])


def test_no_rows_give_an_empty_set():
    result = transformed(patches(), Chain((Rotate(),), output_size=16), poses(0), rows=np.empty(0, np.int64))
    assert result.images.shape == (0, 16, 16)


def test_turns_of_volumes_need_square_pixels_where_they_turn():
    volumes = patches(1, (5, 9, 9)).with_images(np.zeros((1, 5, 9, 9), np.int16), spacing_mm=(2, 0.7, 0.7))
    transformed(volumes, Rotate(), pd.DataFrame({"rotation_deg": [20.0]}))
    transformed(volumes, Scale(), pd.DataFrame({"scale": [1.1]}))
    with pytest.raises(LesionForgeError, match="square pixels along z and x, but their spacings differ"):
        transformed(volumes, Rotate(about="y"), pd.DataFrame({"rotation_y_deg": [20.0]}))


def test_parameters_and_rows_of_different_lengths_are_refused():
    with pytest.raises(LesionForgeError, match="a row for each of 3 images, but have 2"):
        transformed(patches(), Rotate(), poses(2))


def test_sources_are_never_repeated_whole():
    source, rows = patches(1, (71, 71)), np.zeros(4000, np.int64)
    tracemalloc.start()
    try:
        result = transformed(source, Chain((Rotate(), Scale()), output_size=16), poses(4000), rows=rows)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.images.nbytes < 2.1e6
    assert peak < 16e6  # 4000 sources of 71×71 and their masks would take 60 MB
