"""A NumPy file that grows row by row: what does not fit in memory is written as it is made."""

from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from numpy.lib.format import dtype_to_descr, write_array_header_1_0
from numpy.typing import DTypeLike

from lesionforge.data.patch_table import Array


class GrowingArray:
    """The file that `numpy.save` would write of all rows together; whole once the ``with`` block has ended.

    It is not written through a map, which is quicker to say but ends the whole process where the disk is full.
    """

    def __init__(self, file: Path, dtype: DTypeLike, shape: tuple[int, ...]) -> None:
        self.dtype, self.shape, self.count = np.dtype(dtype), shape, 0  # shape: of a row
        self._stream = file.open("wb")
        self._write_header()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, _error: object, _trace: TracebackType | None) -> None:
        with self._stream:
            if kind is None:
                self._stream.seek(0)
                self._write_header()  # as long as the first one: NumPy leaves room for any number of rows

    def add(self, rows: Array) -> None:
        """Write rows [n, *shape]."""
        assert rows.shape[1:] == self.shape
        self._stream.write(np.ascontiguousarray(rows, dtype=self.dtype).data)
        self.count += len(rows)

    def _write_header(self) -> None:
        shape = self.count, *self.shape
        header = {"descr": dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        write_array_header_1_0(self._stream, header)
