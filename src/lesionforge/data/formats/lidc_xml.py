"""The readings of LIDC-IDRI: one XML file holds what (usually four) radiologists marked in one chest CT.

A reader outlined *nodules* of 3 mm and more on every slice and rated them, and put one point into each *small nodule*
below 3 mm and each *non-nodule* of 3 mm and more. The outline's pixels are the first ones outside the lesion (Armato
et al., Medical Physics 38, 915–931, 2011). The files do not say which marks of different readers mean the same lesion:
see `lesionforge.data.formats.lidc_findings`.

Pixels are (x, y): column and row of the stored image, counted from 0. Slices are named by their SOP instance UID.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import fromstring  # type: ignore[import-untyped]
from numpy.typing import NDArray

from lesionforge.errors import UnfitDataError

# Lowest is 1. Of calcification, 6 means that there is none; internal structure and calcification are no scales.
HIGHEST_RATING: Mapping[str, int] = {
    "subtlety": 5,
    "internal_structure": 4,
    "calcification": 6,
    "sphericity": 5,
    "margin": 5,
    "lobulation": 5,
    "spiculation": 5,
    "texture": 5,
    "malignancy": 5,
}
KINDS = NODULE, SMALL_NODULE, NON_NODULE = "nodule", "small_nodule", "non_nodule"
ANONYMOUS = {"", "anon", "anonymous"}  # what stands where a reader's number was removed
LARGEST_FILE = 2**24  # bytes; the largest of LIDC-IDRI has 2.2 MB
LARGEST_IMAGE = 2**11  # pixels along an axis; those of LIDC-IDRI have 512
MOST_PIXELS = 2**22  # in the boxes around a file's outlines; the fullest of LIDC-IDRI has 264 000
MOST_MARKS = 1000  # in a file; the fullest of LIDC-IDRI has 265


@dataclass(frozen=True, eq=False)
class Outline:
    """What a reader drew on one slice: [n, 2] pixels (x, y), the first ones outside what they enclose."""

    slice_uid: str
    z_mm: float
    pixels: NDArray[np.int32]
    inclusion: bool = True
    """False: what it encloses is no part of the lesion, such as a cavity."""

    @property
    def box_pixels(self) -> int:
        """Pixels of the box around it."""
        width, height = np.ptp(self.pixels, axis=0) + 1
        return int(width) * int(height)


@dataclass(frozen=True, eq=False)
class Mark:
    """What one reader said of one lesion; ``reader`` counts the scan's readers from 1."""

    reader: int
    kind: str
    outlines: tuple[Outline, ...]
    ratings: Mapping[str, int]


@dataclass(frozen=True, eq=False)
class Reading:
    """One file.

    Parameters
    ----------
    series_uid
        Of the CT series that was read.
    readers
        How many read it.
    marks
        In the file's order.
    dropped
        For every mark, outline or rating that cannot be used, why not: equal words for the like.
    digest
        Of what the readers said: files that repeat a reading under another message number have equal ones.
    """

    series_uid: str
    readers: int
    marks: tuple[Mark, ...]
    dropped: tuple[str, ...]
    digest: str


def parse_reading(xml: bytes) -> Reading:
    """Read one file.

    Raises
    ------
    UnfitDataError
        It is no XML, or XML with a document type (entities can blow up to any size), or holds no readings of a CT
        series: LIDC-IDRI's readings of chest radiographs are refused with a reason of their own.
    """
    if len(xml) > LARGEST_FILE:
        raise UnfitDataError("XML too large", f"an LIDC file must have at most {LARGEST_FILE} bytes, has {len(xml)}.")
    try:
        root = fromstring(xml, forbid_dtd=True)
    except (ParseError, ValueError, LookupError) as error:
        unsafe = isinstance(error, DefusedXmlException)
        reason = "XML with a document type" if unsafe else "XML that cannot be read"
        raise UnfitDataError(reason, f"an LIDC file must be plain XML, but {error}.") from None
    message = root.tag.rpartition("}")[2]
    if message == "IdriReadMessage":
        raise UnfitDataError("readings of a chest radiograph", "this file reads a chest radiograph, not a CT series.")
    if message != "LidcReadMessage":
        raise UnfitDataError("XML that is no LIDC reading", "an LIDC file must hold a LidcReadMessage.")
    series_uid = _text(root, "{*}ResponseHeader/{*}SeriesInstanceUid")
    if not series_uid:
        raise UnfitDataError("reading without a series", "an LIDC file must say its SeriesInstanceUid.")
    reading = _reading(series_uid, root.findall("{*}readingSession"))
    pixels = sum(outline.box_pixels for mark in reading.marks for outline in mark.outlines)
    if len(reading.marks) > MOST_MARKS or pixels > MOST_PIXELS:
        message = (
            f"a reading must have at most {MOST_MARKS} marks in boxes of {MOST_PIXELS} pixels, but has "
            f"{len(reading.marks)} in {pixels}: it is no reading of a scan."
        )
        raise UnfitDataError("more marks than anybody makes", message)
    return reading


def _reading(series_uid: str, sessions: list[Element]) -> Reading:
    readers: dict[str, int] = {}
    dropped: list[str] = []
    marks: list[Mark] = []
    hashed = hashlib.sha256()
    for number, session in enumerate(sessions):
        identity = _text(session, "{*}servicingRadiologistID")
        # Two sessions that are signed with the same number are one reader's; unsigned ones are taken for different.
        key = f"session {number}" if identity in ANONYMOUS else identity
        reader = readers.setdefault(key, len(readers) + 1)
        marks += _marks(session, reader, dropped)
        hashed.update("\n".join(text.strip() for text in session.itertext()).encode())
    return Reading(series_uid, len(readers), tuple(marks), tuple(dropped), hashed.hexdigest())


def _marks(session: Element, reader: int, dropped: list[str]) -> Iterator[Mark]:
    for element in session.iterfind("{*}unblindedReadNodule"):
        outlines = tuple(_outlines(element.findall("{*}roi"), "{*}edgeMap", dropped))
        ratings = _ratings(element, dropped)
        if not any(outline.inclusion for outline in outlines):
            dropped.append("mark without a usable outline")
            continue
        one_point = len(outlines) == 1 and len(outlines[0].pixels) == 1
        yield Mark(reader, SMALL_NODULE if one_point and not ratings else NODULE, outlines, ratings)
    for element in session.iterfind("{*}nonNodule"):
        outlines = tuple(_outlines([element], "{*}locus", dropped))
        if not outlines:
            dropped.append("mark without a usable outline")
            continue
        yield Mark(reader, NON_NODULE, outlines, {})


def _outlines(elements: list[Element], point: str, dropped: list[str]) -> Iterator[Outline]:
    for element in elements:
        try:
            yield _outline(element, element.findall(point))
        except UnfitDataError as error:
            dropped.append(error.reason)


def _outline(element: Element, points: list[Element]) -> Outline:
    slice_uid = _text(element, "{*}imageSOP_UID")
    inclusion = _text(element, "{*}inclusion").upper() or "TRUE"  # a non-nodule's point does not say
    if not slice_uid:
        raise UnfitDataError("outline without a slice", "an outline must say its imageSOP_UID.")
    if not points:
        raise UnfitDataError("outline without points", "an outline must have points.")
    if inclusion not in {"TRUE", "FALSE"}:
        raise UnfitDataError("outline neither inclusion nor exclusion", f"inclusion is {inclusion!r}.")
    pixels = np.array([[_number(p, "{*}xCoord"), _number(p, "{*}yCoord")] for p in points])
    if pixels.min() < 0 or pixels.max() >= LARGEST_IMAGE:
        raise UnfitDataError("outline off the image", f"pixels from {pixels.min()} to {pixels.max()} came.")
    z_mm = _number(element, "{*}imageZposition")
    return Outline(slice_uid, z_mm, np.rint(pixels).astype(np.int32), inclusion == "TRUE")


def _ratings(element: Element, dropped: list[str]) -> dict[str, int]:
    ratings: dict[str, int] = {}
    for name, highest in HIGHEST_RATING.items():
        tag = name.replace("_s", "S")  # internalStructure, in the file
        text = _text(element, f"{{*}}characteristics/{{*}}{tag}")
        if text in {str(rating) for rating in range(1, highest + 1)}:
            ratings[name] = int(text)
        elif text not in {"", "0"}:  # 0: not rated
            dropped.append("rating outside its scale")
    return ratings


def _number(element: Element, path: str) -> float:
    try:
        number = float(_text(element, path))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UnfitDataError("coordinate that is no number", "a coordinate must be a finite number.")
    return number


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()
