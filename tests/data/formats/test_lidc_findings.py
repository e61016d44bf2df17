"""Marks of several readers become lesions, and outlines the pixels they enclose."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon, polygon_perimeter

from lesionforge.data.formats.lidc_findings import facts_of, find_findings, region_of, to_pixels
from lesionforge.data.formats.lidc_xml import HIGHEST_RATING, NODULE, NON_NODULE, SMALL_NODULE, Mark, Outline


def outline(points, *, z=0.0, inclusion=True):
    return Outline(f"1.2.{z}", z, np.array(points, np.int32), inclusion)


def square(x, y, side, *, z=0.0, inclusion=True):
    """The outline of ``side`` × ``side`` pixels from (x, y) on, which lies around them."""
    low, high = -1, side
    corners = [(low, low), (high, low), (high, high), (low, high)]
    return outline([(x + i, y + j) for i, j in corners], z=z, inclusion=inclusion)


def nodule(reader, x, y, side=6, *, slices=(0.0,), **ratings):
    return Mark(reader, NODULE, tuple(square(x, y, side, z=z) for z in slices), ratings)


def point(reader, x, y, *, z=0.0, kind=SMALL_NODULE):
    return Mark(reader, kind, (outline([(x, y)], z=z),), {})


def groups(marks):
    return {finding.name: [marks.index(mark) for mark in finding.marks] for finding in find_findings(marks)}


def pixels(mark, z=0.0):
    region = region_of(mark)
    return set(map(tuple, to_pixels(region[f"1.2.{z}"]).tolist())) if region else set()


def block(x, y, side):
    return set(itertools.product(range(x, x + side), range(y, y + side)))


def test_the_outline_itself_is_outside():
    assert pixels(nodule(1, 10, 20, 5)) == block(10, 20, 5)


def test_an_exclusion_takes_its_outline_with_it():
    mark = Mark(1, NODULE, (square(10, 20, 9), square(13, 23, 2, inclusion=False)), {})
    assert pixels(mark) == block(10, 20, 9) - block(12, 22, 4)


def test_the_order_of_inclusion_and_exclusion_does_not_matter():
    hole, around = square(13, 23, 2, inclusion=False), square(10, 20, 9)
    assert pixels(Mark(1, NODULE, (hole, around), {})) == pixels(Mark(1, NODULE, (around, hole), {}))


def test_an_exclusion_that_leaves_nothing_does_not_count():
    assert pixels(Mark(1, NODULE, (square(10, 20, 4), square(9, 19, 8, inclusion=False)), {})) == block(10, 20, 4)


@pytest.mark.parametrize("points", [[(4, 5)], [(4, 5), (5, 6), (6, 7)], [(4, 5), (5, 5), (5, 6), (4, 6)]])
def test_an_outline_that_encloses_nothing_stands_for_itself(points):
    assert pixels(Mark(1, NODULE, (outline(points),), {})) == set(points)


def test_an_open_outline_is_closed_by_a_line():
    points = [(0, 0), (9, 0), (9, 9), (0, 9)]
    closed = [*points, points[0]]
    assert pixels(Mark(1, NODULE, (outline(points),), {})) == pixels(Mark(1, NODULE, (outline(closed),), {}))


def test_an_outline_that_crosses_itself_encloses_both_parts():
    eight = [(0, 0), (8, 8), (8, 0), (0, 8)]
    inside = pixels(Mark(1, NODULE, (outline(eight),), {}))
    assert {(1, 4), (7, 4)} <= inside
    assert not {(4, 1), (4, 7), (4, 4)} & inside


def test_two_inclusions_on_a_slice_are_joined():
    assert pixels(Mark(1, NODULE, (square(0, 0, 3), square(10, 10, 2)), {})) == block(0, 0, 3) | block(10, 10, 2)


@settings(deadline=None, max_examples=100)
@given(
    angles=st.lists(st.floats(0, 2 * np.pi), min_size=3, max_size=12),
    radii=st.lists(st.integers(1, 40), min_size=12, max_size=12),
)
def test_a_dense_outline_encloses_what_a_polygon_filler_fills(angles, radii):
    angles = np.sort(angles)
    radius = np.array(radii[: len(angles)])
    corners = np.rint(50 + radius * [np.cos(angles), np.sin(angles)]).astype(int)
    drawn = np.stack(polygon_perimeter(*corners), axis=-1)
    filled = set(zip(*(axis.tolist() for axis in polygon(*corners)), strict=True)) - set(map(tuple, drawn.tolist()))
    mark = Mark(1, NODULE, (outline(drawn),), {})
    enclosed = pixels(mark) - set(map(tuple, drawn.tolist()))
    # Where the perimeter closes a gap that the polygon leaves open, it encloses more; never less.
    assert filled <= enclosed
    assert len(enclosed - filled) <= len(drawn) // 4


def test_overlapping_outlines_are_one_nodule():
    marks = [nodule(1, 10, 10), nodule(2, 11, 10), nodule(3, 10, 12), nodule(4, 40, 40)]
    assert groups(marks) == {"nodule-1": [0, 1, 2], "nodule-2": [3]}


def test_overlap_needs_a_common_slice():
    marks = [
        nodule(1, 10, 10, slices=(0.0, 2.0)),
        nodule(2, 10, 10, slices=(2.0, 4.0)),
        nodule(3, 10, 10, slices=(6.0,)),
    ]
    assert groups(marks) == {"nodule-1": [0, 1], "nodule-2": [2]}


def test_a_whole_goes_with_the_larger_of_two_parts():
    whole, large, small = nodule(1, 10, 10, 10), nodule(2, 10, 10, 7), nodule(2, 18, 18, 3)
    assert groups([whole, small, large]) == {"nodule-1": [0, 2], "nodule-2": [1]}


def test_neighbours_that_touch_one_reader_s_outline_are_not_chained():
    left, right = nodule(1, 10, 10), nodule(1, 18, 10)
    others = [nodule(2, 10, 10), nodule(2, 17, 10), nodule(3, 13, 10, 7)]
    found = groups([left, right, *others])
    assert sorted(map(len, found.values())) == [2, 3]
    assert all(
        len({mark.reader for mark in finding.marks}) == len(finding.marks)
        for finding in find_findings([left, right, *others])
    )


def test_of_an_outline_drawn_twice_the_later_counts():
    first, again, other = (
        nodule(1, 10, 10, malignancy=1),
        nodule(1, 10, 11, malignancy=5),
        nodule(2, 10, 10, malignancy=3),
    )
    (finding,) = find_findings([first, again, other])
    assert finding.marks == (again, other)


@pytest.mark.parametrize(
    ("x", "z", "together"), [(15, 0.0, True), (16, 0.0, False), (10, 3.0, True), (10, 5.0, False), (14, 2.5, True)]
)
def test_points_are_joined_within_five_pixels_and_three_mm(x, z, together):
    found = groups([point(1, 10, 10), point(2, x, 10, z=z)])
    assert len(found) == (1 if together else 2)


def test_points_go_to_the_nearest():
    marks = [point(1, 10, 10), point(1, 16, 10), point(2, 14, 10)]
    assert groups(marks) == {"small-nodule-1": [0], "small-nodule-2": [1, 2]}


@pytest.mark.parametrize(("x", "inside"), [(12, True), (9, True), (8, False), (16, True), (17, False)])
def test_a_point_in_or_on_an_outline_is_of_that_nodule(x, inside):
    outlined, mark = nodule(1, 10, 10), point(2, x, 12, kind=NON_NODULE)
    found = groups([outlined, mark])
    assert found == ({"nodule-1": [0, 1]} if inside else {"nodule-1": [0], "non-nodule-1": [1]})


def test_kinds_and_their_readers_are_counted():
    marks = [nodule(1, 10, 10), point(2, 12, 12), point(3, 12, 12, kind=NON_NODULE), nodule(4, 10, 10)]
    (finding,) = find_findings(marks)
    facts = facts_of(finding)
    assert facts["kind"] == NODULE
    counts = [facts[name] for name in ("readers", "readers_nodule", "readers_small_nodule", "readers_non_nodule")]
    assert counts == [2, 2, 1, 1]
    (small,) = find_findings([point(1, 5, 5, kind=NON_NODULE), point(2, 5, 5)])
    assert (small.name, facts_of(small)["readers"]) == ("small-nodule-1", 1)


def test_ratings_are_kept_by_reader():
    (finding,) = find_findings([nodule(2, 10, 10, malignancy=2, texture=5), nodule(4, 10, 10, malignancy=5)])
    facts = facts_of(finding)
    np.testing.assert_array_equal([facts[f"malignancy_{reader}"] for reader in (1, 2, 3, 4)], [np.nan, 2, np.nan, 5])
    assert (facts["malignancy_mean"], facts["malignancy_median"], facts["texture_mean"]) == (3.5, 3.5, 5)
    assert np.isnan([facts["margin_mean"], facts["margin_1"], facts["texture_4"]]).all()


def test_every_lesion_has_the_same_columns():
    marks = [nodule(1, 10, 10, malignancy=2), point(2, 90, 90), point(2, 40, 40, kind=NON_NODULE)]
    columns = {tuple(facts_of(finding)) for finding in find_findings(marks)}
    assert len(columns) == 1
    assert {f"{name}_{reader}" for name in HIGHEST_RATING for reader in (1, 2, 3, 4)} <= set(columns.pop())


def test_more_readers_have_more_columns():
    (finding,) = find_findings([nodule(6, 10, 10, malignancy=2)])
    assert facts_of(finding, readers=6)["malignancy_6"] == 2


MARKS = st.one_of(
    st.builds(nodule, st.integers(1, 4), st.integers(5, 30), st.integers(5, 30), st.integers(1, 9)),
    st.builds(
        point,
        st.integers(1, 4),
        st.integers(5, 30),
        st.integers(5, 30),
        z=st.sampled_from([0.0, 2.0, 8.0]),
        kind=st.sampled_from([SMALL_NODULE, NON_NODULE]),
    ),
)


@settings(deadline=None, max_examples=60)
@given(marks=st.lists(MARKS, max_size=10))
def test_every_mark_is_in_one_lesion_and_no_reader_twice(marks):
    findings = find_findings(marks)
    grouped = [mark for finding in findings for mark in finding.marks]
    assert len(set(map(id, grouped))) == len(grouped)
    # What is not in a lesion was drawn twice by one reader.
    for mark in marks:
        if not any(mark is each for each in grouped):
            assert any(
                other is not mark and other.reader == mark.reader and pixels(other) & pixels(mark)
                for other in marks
                if other.kind == NODULE
            )
    assert all(len({mark.reader for mark in finding.marks}) == len(finding.marks) for finding in findings)
    assert len({finding.name for finding in findings}) == len(findings)


@settings(deadline=None, max_examples=30)
@given(marks=st.lists(MARKS, max_size=8), turn=st.integers(1, 3))
def test_names_do_not_depend_on_who_comes_first(marks, turn):
    """Where places are distinct enough to be joined in one way, the order of the sessions changes no name."""
    apart = [
        Mark(mark.reader, mark.kind, tuple(_moved(each, 100 * number) for each in mark.outlines), mark.ratings)
        for number, mark in enumerate(marks)
    ]
    names = {id(mark): finding.name for finding in find_findings(apart) for mark in finding.marks}
    turned = apart[turn:] + apart[:turn]
    assert names == {id(mark): finding.name for finding in find_findings(turned) for mark in finding.marks}


def _moved(drawn, x):
    return Outline(drawn.slice_uid, drawn.z_mm, drawn.pixels + np.array([x, 0], np.int32), drawn.inclusion)
