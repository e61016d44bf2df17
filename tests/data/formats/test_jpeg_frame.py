"""Lossless JPEG frames that must not reach the decoder, because it would end the process."""

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import uid
from pydicom.encaps import generate_frames

from lesionforge.data.formats.jpeg_frame import check_lossless_jpeg

HEADER, TABLES, SCAN = b"\xff\xc3", b"\xff\xc4", b"\xff\xda"


@pytest.fixture(scope="module")
def frame(tmp_path_factory, dicom_series_writer):
    """A whole frame of 32 × 40 pixels of 16 bits."""
    hu = np.random.default_rng(0).integers(-1024, 3072, (1, 32, 40)).astype(np.int16)
    (file,) = dicom_series_writer(tmp_path_factory.mktemp("jpeg"), hu, syntax=uid.JPEGLosslessSV1)
    return next(generate_frames(pydicom.dcmread(file).PixelData, number_of_frames=1))


def test_a_whole_frame_is_taken(frame):
    check_lossless_jpeg(frame, (32, 40), bits=16)


BROKEN = {
    "empty": lambda _frame: b"",
    "of another kind": lambda frame: b"\xff\x4f" + frame[2:],
    "cut before the pixels": lambda frame: frame[:20],
    "cut in the pixels": lambda frame: frame[:-40],
    "of another process": lambda frame: frame.replace(HEADER, b"\xff\xc7", 1),
    "of progressive JPEG": lambda frame: frame.replace(HEADER, b"\xff\xc2", 1),
    "without tables": lambda frame: frame.replace(TABLES, b"\xff\xff", 1),
    "with no marker where the tables begin": lambda frame: frame.replace(TABLES, b"\x00\x00", 1),
    "with two headers": lambda frame: frame.replace(HEADER, frame[2:15] + HEADER, 1),
    "of 199 bits": lambda frame: frame.replace(HEADER + b"\x00\x0b\x10", HEADER + b"\x00\x0b\xc7", 1),
    "of 255 more rows": lambda frame: frame.replace(b"\x10\x00\x20", b"\x10\xff\x20", 1),
    "of three colours": lambda frame: frame.replace(b"\x00\x28\x01", b"\x00\x28\x03", 1),
    "with a header of no length": lambda frame: frame.replace(HEADER + b"\x00\x0b", HEADER + b"\x00\x00", 1),
    "with tables among the pixels": lambda frame: frame[:200] + TABLES + frame[202:],
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_frame_is_refused(frame, what):
    assert BROKEN[what](frame) != frame
    with pytest.raises(ValueError, match="JPEG frame must"):
        check_lossless_jpeg(BROKEN[what](frame), (32, 40), bits=16)


@pytest.mark.parametrize(("shape", "bits"), [((40, 32), 16), ((32, 41), 16), ((32, 40), 8)])
def test_a_frame_of_another_size_than_the_header_says_is_refused(frame, shape, bits):
    with pytest.raises(ValueError, match="size that the DICOM header says"):
        check_lossless_jpeg(frame, shape, bits=bits)


@given(noise=st.binary(max_size=200))
@settings(deadline=None, max_examples=50)
def test_noise_is_refused(noise):
    for start in (b"", b"\xff\xd8", b"\xff\xd8\xff\xc3\x00\x0b"):
        with pytest.raises(ValueError, match="JPEG frame must"):
            check_lossless_jpeg(start + noise, (32, 40), bits=16)
