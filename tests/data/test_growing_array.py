import numpy as np
import pytest

from lesionforge.data.growing_array import GrowingArray


@pytest.mark.parametrize("counts", [[], [0], [3], [1, 0, 5], [4] * 30], ids=str)
@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4)], ids=str)
def test_the_file_is_that_of_all_rows_at_once(tmp_path, counts, shape):
    rows = np.random.default_rng(0).integers(-1000, 400, (sum(counts), *shape)).astype(np.int16)
    with GrowingArray(tmp_path / "grown.npy", np.int16, shape) as grown:
        for part in np.split(rows, np.cumsum(counts)[:-1]) if counts else []:
            grown.add(part)
    np.save(tmp_path / "whole.npy", rows)
    assert (tmp_path / "grown.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()


def test_rows_that_are_not_laid_out_in_order_are_written_in_order(tmp_path):
    rows = np.arange(24).reshape(2, 3, 4).swapaxes(1, 2)[:, ::-1]
    with GrowingArray(tmp_path / "grown.npy", np.float32, (4, 3)) as grown:
        grown.add(rows)
    again = np.load(tmp_path / "grown.npy")
    assert again.dtype == np.float32
    np.testing.assert_array_equal(again, rows)


def test_after_an_error_the_file_does_not_claim_rows(tmp_path):
    def fail():
        with GrowingArray(tmp_path / "grown.npy", np.int16, (3, 4)) as grown:
            grown.add(np.ones((2, 3, 4), np.int16))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert np.load(tmp_path / "grown.npy").shape == (0, 3, 4)
