"""NumPy's files are read whole or refused, and nothing in them is believed."""

import os

import numpy as np
import pytest

from lesionforge.data.formats.npz_file import array_names, read_array, read_arrays
from lesionforge.errors import StorageError

HU = np.random.default_rng(0).integers(-1000, 400, (3, 4, 5)).astype(np.int16)


@pytest.mark.parametrize("array", [HU, np.asfortranarray(HU), HU.astype(">f4"), HU[:0], HU > 0, HU[0, 0, 0]])
def test_what_is_written_comes_back(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    np.savez_compressed(tmp_path / "a.npz", x=array, other=HU)
    assert array_names(tmp_path / "a.npz") == {"x", "other"}
    for read in (read_array(tmp_path / "a.npy"), read_arrays(tmp_path / "a.npz", ["x"])["x"]):
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype
    assert read_array(tmp_path / "a.npy").flags.writeable


def test_a_pipe_and_other_files_have_no_arrays(tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    (tmp_path / "text.npz").write_text("text")
    for name in ("pipe.npz", "text.npz", "none.npz"):
        assert array_names(tmp_path / name) == set()


def test_every_shorter_file_is_refused(tmp_path):
    file = tmp_path / "a.npy"
    np.save(file, HU)
    content = file.read_bytes()
    for length in range(0, len(content), 5):
        file.write_bytes(content[:length])
        with pytest.raises(StorageError, match="must hold NumPy arrays of numbers"):
            read_array(file)
