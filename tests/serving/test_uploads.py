"""Uploads that nobody sane would send."""

import io
import struct
import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.serving.uploads import Limits, UploadError, most_array_bytes, read_array, unpack

SHAPE = (8, 8)
LIMITS = Limits(patches=4, files=20, unpacked_bytes=200_000, archive_bytes=100_000)


def npy(array, **kwargs) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def header(text: str, *, version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(text)) + text.encode()


def zipped(files: dict[str, bytes], **kwargs) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kwargs.pop("compression", zipfile.ZIP_DEFLATED)) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", ["i2", "u1", ">i4", "f4", "f8", "f2"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_of_numbers_are_read(dtype, order):
    one = np.arange(64).reshape(SHAPE).astype(dtype)
    np.testing.assert_array_equal(read_array(npy(np.asarray(one, order=order)), SHAPE, LIMITS), one[None])
    many = np.stack([one, one.T, one])
    np.testing.assert_array_equal(read_array(npy(np.asarray(many, order=order)), SHAPE, LIMITS), many)


BAD_ARRAYS = {
    "nothing": b"",
    "text": b"hello",
    "pickle": npy(np.array([{"a": 1}], dtype=object), allow_pickle=True),
    "complex": npy(np.zeros(SHAPE, complex)),
    "truth": npy(np.zeros(SHAPE, bool)),
    "strings": npy(np.full(SHAPE, "abc")),
    "long doubles": npy(np.zeros(SHAPE, np.longdouble)),
    "other size": npy(np.zeros((9, 8))),
    "none": npy(np.zeros((0, 8, 8))),
    "too many": npy(np.zeros((5, 8, 8))),
    "cut short": npy(np.zeros(SHAPE))[:-1],
    "too long": npy(np.zeros(SHAPE)) + b"x",
    "nan": npy(np.full(SHAPE, np.nan)),
    "beyond single precision": npy(np.full(SHAPE, 1e300)),
    "huge shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 8, 8)}"),
    "negative shape": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 8, 8)}"),
    "code": header("__import__('os').system('true')"),
    "deep": header("(" * 5000),
    "subarray": header("{'descr': ('<f8', (1000000000,)), 'fortran_order': False, 'shape': (8, 8)}"),
    "version 3": header("{'descr': '<f8', 'fortran_order': False, 'shape': (8, 8)}", version=b"\x03\x00"),
}


@pytest.mark.parametrize("what", BAD_ARRAYS)
def test_other_arrays_are_refused_in_words_of_our_own(what):
    with pytest.raises(UploadError) as refused:
        read_array(BAD_ARRAYS[what], SHAPE, LIMITS)
    assert refused.value.status == 422
    assert len(str(refused.value)) < 120


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_arrays_that_were_tampered_with_are_read_or_refused(data):
    whole = bytearray(npy(np.arange(64.0).reshape(SHAPE)))
    for _ in range(data.draw(st.integers(1, 6))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(whole[: data.draw(st.integers(0, len(whole)))]) + data.draw(st.binary(max_size=20))
    with suppress(UploadError):
        assert read_array(content, SHAPE, LIMITS).shape[1:] == SHAPE


def test_the_largest_array_that_is_read_fits_into_the_largest_body():
    assert len(npy(np.zeros((LIMITS.patches, *SHAPE)))) < most_array_bytes(SHAPE, LIMITS)


def test_files_are_unpacked_under_numbers_whatever_they_are_called(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ["../../evil", "/etc/passwd", "a/b/c.dcm", "x" * 300, "C:\\windows", "..", "con\x01"]
    unpack(io.BytesIO(zipped({name: name.encode() for name in names})), inside, LIMITS)
    assert {file.name for file in inside.iterdir()} == {f"{k}.dcm" for k in range(len(names))}
    assert {file.read_bytes() for file in inside.iterdir()} == {name.encode() for name in names}
    assert list(tmp_path.iterdir()) == [inside]


def lying(content: bytes) -> bytes:
    """An archive whose only file says that it is ten bytes long."""
    whole = bytearray(zipped({"a": content}))
    place = whole.find(b"PK\x01\x02")
    whole[place + 24 : place + 28] = struct.pack("<L", 10)
    return bytes(whole)


def zip64(content: bytes) -> bytes:
    """An archive that tells another directory in the larger format."""
    end = content.rfind(b"PK\x05\x06")
    return content[:end] + b"PK\x06\x07" + bytes(16) + content[end:]


BAD_ARCHIVES = {
    "nothing": (b"", 422),
    "text": (b"hello", 422),
    "cut short": (zipped({"a": b"x" * 1000})[:-30], 422),
    "damaged": (zipped({"a": bytes(range(256)) * 4}).replace(b"\x05", b"\x07", 1), 422),
    "bomb": (zipped({"a": bytes(10_000_000)}), 413),
    "many bombs": (zipped({str(k): bytes(100_000) for k in range(10)}), 413),
    "lying bomb": (lying(bytes(10_000_000)), 422),
    "many files": (zipped({str(k): b"" for k in range(21)}), 413),
    "zip64": (zip64(zipped({"a": b"x"})), 413),
    "lzma": (zipped({"a": b"x"}, compression=zipfile.ZIP_LZMA), 422),
}


@pytest.mark.parametrize("what", BAD_ARCHIVES)
def test_bad_archives_are_refused_within_bounds(what, tmp_path):
    content, status = BAD_ARCHIVES[what]
    tracemalloc.start()
    try:
        with pytest.raises(UploadError) as refused:
            unpack(io.BytesIO(content), tmp_path, LIMITS)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert refused.value.status == status
    assert peak < 2_000_000 + len(content)
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) <= LIMITS.unpacked_bytes
    assert str(tmp_path) not in str(refused.value)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_archives_that_were_tampered_with_are_unpacked_or_refused(data, tmp_path_factory):
    whole = bytearray(zipped({"a": b"abc" * 20, "b/c": bytes(50)}))
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    folder: Path = tmp_path_factory.mktemp("archive")
    with suppress(UploadError):
        unpack(io.BytesIO(bytes(whole)), folder, LIMITS)
    assert sum(file.stat().st_size for file in folder.iterdir()) <= LIMITS.unpacked_bytes
