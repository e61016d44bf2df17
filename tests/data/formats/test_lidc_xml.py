"""The XML of LIDC-IDRI: what the readers said comes back, and what cannot be read ends in words."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.formats.lidc_xml import (
    HIGHEST_RATING,
    LARGEST_FILE,
    LARGEST_IMAGE,
    MOST_MARKS,
    NODULE,
    NON_NODULE,
    SMALL_NODULE,
    Mark,
    Outline,
    parse_reading,
)
from lesionforge.errors import UnfitDataError

SERIES = "1.2.3"
RATINGS = dict.fromkeys(HIGHEST_RATING, 3)

PIXELS = st.integers(0, 400)
OUTLINES = st.builds(
    Outline,
    slice_uid=st.sampled_from(["1.2.3.1", "1.2.3.2"]),
    z_mm=st.floats(-1000, 1000),
    pixels=st.lists(st.tuples(PIXELS, PIXELS), min_size=2, max_size=5).map(lambda points: np.array(points, np.int32)),
    inclusion=st.just(True),
)
POINTS = st.builds(
    Outline,
    slice_uid=st.just("1.2.3.1"),
    z_mm=st.floats(-1000, 1000),
    pixels=st.tuples(PIXELS, st.integers(0, LARGEST_IMAGE - 1)).map(lambda point: np.array([point], np.int32)),
)
READERS = st.integers(1, 4)
MARKS = st.one_of(
    st.builds(
        Mark,
        reader=READERS,
        kind=st.just(NODULE),
        outlines=st.lists(OUTLINES, min_size=1, max_size=3).map(tuple),
        ratings=st.fixed_dictionaries({name: st.integers(1, highest) for name, highest in HIGHEST_RATING.items()}),
    ),
    st.builds(
        Mark,
        reader=READERS,
        kind=st.sampled_from([SMALL_NODULE, NON_NODULE]),
        outlines=st.tuples(POINTS),
        ratings=st.just({}),
    ),
)


def plain(mark):
    outlines = [(o.slice_uid, o.z_mm, o.pixels.tolist(), o.inclusion) for o in mark.outlines]
    return mark.reader, mark.kind, outlines, dict(mark.ratings)


def outline(*points, slice_uid="1.2.3.1", inclusion=True):
    return Outline(slice_uid, -10.0, np.array(points, np.int32), inclusion)


SQUARE = outline((3, 3), (4, 3), (5, 3), (5, 4), (5, 5), (4, 5), (3, 5), (3, 4))


@settings(deadline=None, max_examples=60)
@given(marks=st.lists(MARKS, max_size=6))
def test_what_is_written_is_read(lidc_writer, marks):
    reading = parse_reading(lidc_writer(marks, series_uid=SERIES))
    # The file's order: by reader, and of each the nodules before the non-nodules.
    expected = sorted(marks, key=lambda mark: (mark.reader, mark.kind == NON_NODULE))
    assert (reading.series_uid, reading.readers, reading.dropped) == (SERIES, 4, ())
    assert [plain(mark) for mark in reading.marks] == [plain(mark) for mark in expected]


def test_an_exclusion_stays_one(lidc_writer):
    hole = outline((4, 4), inclusion=False)
    (mark,) = parse_reading(lidc_writer([Mark(1, NODULE, (SQUARE, hole), RATINGS)], series_uid=SERIES)).marks
    assert [each.inclusion for each in mark.outlines] == [True, False]


def test_a_point_with_ratings_of_zero_is_a_small_nodule(lidc_writer):
    zeros = dict.fromkeys(HIGHEST_RATING, 0)
    reading = parse_reading(lidc_writer([Mark(1, NODULE, (outline((4, 4)),), zeros)], series_uid=SERIES))
    assert (reading.marks[0].kind, reading.marks[0].ratings, reading.dropped) == (SMALL_NODULE, {}, ())


def test_an_outline_without_ratings_is_a_nodule(lidc_writer):
    reading = parse_reading(lidc_writer([Mark(1, NODULE, (SQUARE,), {})], series_uid=SERIES))
    assert (reading.marks[0].kind, reading.marks[0].ratings) == (NODULE, {})


@pytest.mark.parametrize(
    ("identities", "readers"),
    [
        (("anon", "anon", "", "anonymous"), [1, 2, 3, 4]),  # unsigned sessions are different readers'
        (("11", "22", "11", "33"), [1, 2, 1, 3]),  # two sessions of one reader
        (("11", "anon", "11", "anon"), [1, 2, 1, 3]),
    ],
)
def test_sessions_are_those_of_readers(lidc_writer, identities, readers):
    marks = [Mark(session, NODULE, (SQUARE,), RATINGS) for session in (1, 2, 3, 4)]
    reading = parse_reading(lidc_writer(marks, series_uid=SERIES, identities=identities))
    assert [mark.reader for mark in reading.marks] == readers
    assert reading.readers == len(set(readers))


def test_repeated_readings_have_one_digest(lidc_writer):
    square = lidc_writer([Mark(1, NODULE, (SQUARE,), RATINGS)], series_uid=SERIES)
    again = square.replace(b"<ResponseHeader>", b"<ResponseHeader><MessageId>7</MessageId>")
    other = square.replace(b"<xCoord>4<", b"<xCoord>6<")
    assert parse_reading(square).digest == parse_reading(again).digest != parse_reading(other).digest


BOMB = b"""<?xml version="1.0"?>
<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;&b;&b;">]>
<LidcReadMessage>&c;</LidcReadMessage>"""
FETCH = b"""<!DOCTYPE x [<!ENTITY file SYSTEM "file:///etc/hostname">]><LidcReadMessage>&file;</LidcReadMessage>"""


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (b"", "XML that cannot be read"),
        (b"\x00\x01\x02", "XML that cannot be read"),
        (b"<LidcReadMessage><ResponseHeader>", "XML that cannot be read"),
        (b"<LidcReadMessage>\xff\xfe\xe4</LidcReadMessage>", "XML that cannot be read"),
        (b'<?xml version="1.0" encoding="klingon"?><LidcReadMessage/>', "XML that cannot be read"),
        (BOMB, "XML with a document type"),
        (FETCH, "XML with a document type"),
        (b"<!DOCTYPE LidcReadMessage><LidcReadMessage/>", "XML with a document type"),
        (b"<a>" * 10_000, "XML that cannot be read"),
        (b" " * (LARGEST_FILE + 1), "XML too large"),
        (b"<html/>", "XML that is no LIDC reading"),
        (b'<IdriReadMessage xmlns="http://www.nih.gov/idri"/>', "readings of a chest radiograph"),
        (b"<LidcReadMessage/>", "reading without a series"),
    ],
)
def test_a_file_that_is_no_reading_is_refused(xml, reason):
    with pytest.raises(UnfitDataError) as error:
        parse_reading(xml)
    assert error.value.reason == reason


def test_every_beginning_of_a_file_is_refused(lidc_writer):
    whole = lidc_writer([Mark(1, NODULE, (SQUARE,), RATINGS)], series_uid=SERIES)
    for length in range(0, len(whole), 37):
        with pytest.raises(UnfitDataError, match="must be plain XML"):
            parse_reading(whole[:length])


def test_more_marks_than_anybody_makes_are_refused(lidc_writer):
    marks = [Mark(1, NON_NODULE, (outline((4, 4)),), {})] * (MOST_MARKS + 1)
    with pytest.raises(UnfitDataError, match="at most"):
        parse_reading(lidc_writer(marks, series_uid=SERIES))


def test_outlines_of_more_than_anybody_draws_are_refused(lidc_writer):
    """Not their number of points but what they enclose would fill the memory."""
    whole = outline((0, 0), (2000, 0), (2000, 2000), (0, 2000))
    with pytest.raises(UnfitDataError, match="at most"):
        parse_reading(lidc_writer([Mark(1, NODULE, (whole, whole), RATINGS)], series_uid=SERIES))


@pytest.mark.parametrize(
    ("old", "new", "dropped"),
    [
        (b"<xCoord>4<", b"<xCoord>nan<", "coordinate that is no number"),
        (b"<xCoord>4<", b"<xCoord>inf<", "coordinate that is no number"),
        (b"<xCoord>4<", b"<xCoord>four<", "coordinate that is no number"),
        (b"<xCoord>4</xCoord>", b"", "coordinate that is no number"),
        (b"<xCoord>4<", b"<xCoord>-1<", "outline off the image"),
        (b"<xCoord>4<", b"<xCoord>99999<", "outline off the image"),
        (b"<xCoord>4<", b"<xCoord>1e300<", "outline off the image"),
        (b"<imageSOP_UID>1.2.3.1</imageSOP_UID>", b"", "outline without a slice"),
        (b"<imageZposition>-10.0<", b"<imageZposition>high<", "coordinate that is no number"),
        (b"<inclusion>TRUE<", b"<inclusion>PERHAPS<", "outline neither inclusion nor exclusion"),
        (b"edgeMap>", b"edge>", "outline without points"),
    ],
)
def test_an_unusable_outline_is_dropped_and_counted(lidc_writer, old, new, dropped):
    other = outline((13, 3), (14, 3), (14, 5), slice_uid="1.2.3.2")
    marks = [Mark(1, NODULE, (SQUARE,), RATINGS), Mark(2, NODULE, (other,), RATINGS)]
    xml = lidc_writer(marks, series_uid=SERIES)
    assert old in xml
    first, second, *rest = xml.split(b"</readingSession>")
    reading = parse_reading(b"</readingSession>".join([first.replace(old, new), second, *rest]))
    assert reading.dropped == (dropped, "mark without a usable outline")
    assert [plain(mark) for mark in reading.marks] == [plain(marks[1])]


@pytest.mark.parametrize("rating", ["6", "-1", "3.5", "five", "nan"])
def test_a_rating_outside_its_scale_is_dropped_alone(lidc_writer, rating):
    xml = lidc_writer([Mark(1, NODULE, (SQUARE,), RATINGS)], series_uid=SERIES)
    reading = parse_reading(xml.replace(b"<texture>3<", f"<texture>{rating}<".encode()))
    assert reading.dropped == ("rating outside its scale",)
    assert reading.marks[0].ratings == {name: 3 for name in HIGHEST_RATING if name != "texture"}


def test_a_nodule_of_exclusions_alone_is_dropped(lidc_writer):
    hole = outline((4, 4), inclusion=False)
    reading = parse_reading(lidc_writer([Mark(1, NODULE, (hole,), RATINGS)], series_uid=SERIES))
    assert (reading.marks, reading.dropped) == ((), ("mark without a usable outline",))


def test_a_file_without_namespace_is_read_like_one_with(lidc_writer):
    xml = lidc_writer([Mark(1, NODULE, (SQUARE,), RATINGS)], series_uid=SERIES)
    bare = parse_reading(xml.replace(b' xmlns="http://www.nih.gov"', b""))
    assert [plain(mark) for mark in bare.marks] == [plain(mark) for mark in parse_reading(xml).marks]
