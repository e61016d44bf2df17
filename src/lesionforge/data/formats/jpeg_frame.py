"""Lossless JPEG, checked before it is decoded: GDCM, which decodes it, ends the whole process on some broken frames.

A frame is a row of segments (marker, length, content): among them the frame's header with its size, and the Huffman
tables; then the coded pixels, in which 0xFF is followed by 0 or belongs to a restart marker (ITU-T T.81, annex B).
"""

import re

START, LOSSLESS_HEADER, HUFFMAN_TABLES, SCAN, END = 0xFFD8, 0xFFC3, 0xFFC4, 0xFFDA, 0xFFD9
OTHER_HEADERS = {*range(0xFFC0, 0xFFD0)} - {LOSSLESS_HEADER, HUFFMAN_TABLES}
MARKER_IN_PIXELS = re.compile(rb"\xff[^\x00\xd0-\xd7]")


def check_lossless_jpeg(frame: bytes, shape: tuple[int, int], *, bits: int) -> None:
    """Check the structure of a frame of grey values.

    Parameters
    ----------
    shape
        Rows and columns that it must have.
    bits
        At most as many must a pixel have.

    Raises
    ------
    ValueError
        It is broken, of another size, or not lossless.
    """

    def number(place: int) -> int:
        return int.from_bytes(frame[place : place + 2], "big")

    if number(0) != START:
        raise ValueError("a JPEG frame must begin with its marker")
    segments: dict[int, bytes] = {}
    place = 2
    while SCAN not in segments:
        marker, length = number(place), number(place + 2)
        if marker < min(OTHER_HEADERS) or marker in OTHER_HEADERS | {LOSSLESS_HEADER} & set(segments) or length < 2:
            raise ValueError("a lossless JPEG frame must be made of segments, one of them its header")
        segments[marker] = frame[place + 4 : place + 2 + length]
        place += 2 + length
    header = segments.get(LOSSLESS_HEADER, b"").ljust(6, b"\0")
    precision, *size, components = header[0], header[1:3], header[3:5], header[5]
    if tuple(int.from_bytes(side, "big") for side in size) != shape or components != 1 or not 2 <= precision <= bits:
        raise ValueError("a JPEG frame must be of the size that the DICOM header says")
    end = MARKER_IN_PIXELS.search(frame, place)
    if HUFFMAN_TABLES not in segments or end is None or int.from_bytes(end[0], "big") != END:
        raise ValueError("a JPEG frame must have its tables, and its pixels end with their marker")
