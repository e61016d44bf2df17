"""The papers' selection rules, on cohorts small enough to count by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.selection import LABELLINGS, SELECTIONS, select
from lesionforge.errors import LesionForgeError

RATING = st.one_of(st.none(), st.integers(1, 5))


def nodule(texture=(), malignancy=(), **facts):
    """A row as LIDC's source gives it: ratings by reader, missing where a reader did not see the nodule."""
    row = {"patient": "p1", "scan": "s1", "lesion": "nodule-1", "label": "", "kind": "nodule", "diameter_mm": 8.0}
    for name, ratings in (("texture", texture), ("malignancy", malignancy)):
        padded = [*ratings, None, None, None, None][:4]
        row |= {f"{name}_{k}": np.nan if rating is None else rating for k, rating in enumerate(padded, 1)}
        known = [rating for rating in ratings if rating is not None]
        row |= {f"{name}_mean": np.mean(known) if known else np.nan}
        row |= {f"{name}_median": np.median(known) if known else np.nan}
    row |= {"readers": sum(rating is not None for rating in malignancy)}
    row |= {"slice_thickness_mm": 1.25, "extent_x_mm": 8.0, "extent_y_mm": 8.0, "extent_z_mm": 8.0}
    return row | facts


def table(*rows):
    return pd.DataFrame([row | {"lesion": f"nodule-{k}"} for k, row in enumerate(rows)])


@given(textures=st.lists(st.tuples(RATING, RATING, RATING, RATING), min_size=1, max_size=8))
@settings(deadline=None)
def test_ground_glass_is_texture_1_or_2_from_two_readers(textures):
    cohort = table(*(nodule(texture=each) for each in textures))
    wanted = [sum(rating in (1, 2) for rating in each) >= 2 for each in textures]
    if any(wanted):
        kept, _ = select(cohort, ["ground_glass"])
        assert kept["lesion"].tolist() == [f"nodule-{k}" for k, want in enumerate(wanted) if want]
    else:
        with pytest.raises(LesionForgeError, match="no lesion is left"):
            select(cohort, ["ground_glass"])


@given(ratings=st.lists(st.tuples(RATING, RATING, RATING, RATING), min_size=1, max_size=8))
@settings(deadline=None)
def test_majority_malignancy_labels_every_nodule(ratings):
    kept, _ = select(table(*(nodule(malignancy=each) for each in ratings)), [], label="majority_malignancy")
    wanted = []
    for each in ratings:
        known = [rating for rating in each if rating is not None]
        wanted.append("malignant" if sum(rating >= 4 for rating in known) > len(known) / 2 else "benign")
    assert kept["label"].tolist() == wanted


def test_the_usual_rule_leaves_the_middle_out():
    cohort = table(*(nodule(malignancy=each) for each in [(1, 2, 2), (3, 3, 3), (4, 4, 5), (2, 4), (2, 2, 4, 4)]))
    kept, flow = select(cohort, ["rated"], label="malignancy")
    assert kept["label"].tolist() == ["benign", "malignant"]
    assert [step.lesions for step in flow] == [5, 5, 4, 2]


def test_calm_drops_thick_slices_few_readers_and_then_outliers_of_what_is_left():
    usual = [nodule(malignancy=(3, 3, 3), extent_x_mm=6.0 + k / 10) for k in range(10)]
    cohort = table(
        *usual,
        nodule(malignancy=(3, 3, 3), extent_x_mm=60.0),
        nodule(malignancy=(3, 3)),
        nodule(malignancy=(3, 3, 3), slice_thickness_mm=3.0),
        nodule(kind="non_nodule"),
    )
    kept, flow = select(cohort, ["calm"])
    assert kept["lesion"].tolist() == [f"nodule-{k}" for k in range(10)]
    assert [(step.rule, step.lesions) for step in flow] == [
        ("found", 14),
        ("kind == 'nodule'", 13),
        ("slice_thickness_mm <= 2.5", 12),
        ("readers >= 3", 11),
        ("no_size_outliers", 10),
    ]


@given(sizes=st.lists(st.floats(3, 60), min_size=4, max_size=40))
@settings(deadline=None)
def test_outliers_are_those_of_a_box_plot(sizes):
    from matplotlib.cbook import boxplot_stats

    cohort = table(*(nodule(extent_y_mm=size) for size in sizes))
    kept, _ = select(cohort, ["no_size_outliers"])
    high = boxplot_stats(sizes)[0]
    fence = high["q3"] + 1.5 * high["iqr"]
    assert set(sizes) - set(kept["extent_y_mm"]) == {size for size in sizes if size > fence}


def test_the_largest_of_each_patient_and_rules_of_ones_own():
    cohort = table(
        nodule(patient="a", diameter_mm=5.0),
        nodule(patient="a", diameter_mm=9.0),
        nodule(patient="b", diameter_mm=np.nan),
        nodule(patient="c", diameter_mm=7.0),
        nodule(patient="c", diameter_mm=7.0),
    )
    kept, flow = select(cohort, ["largest_per_patient", "diameter_mm >= 6"])
    assert kept["lesion"].tolist() == ["nodule-1", "nodule-3"]
    assert [step.patients for step in flow] == [3, 3, 2]
    label = json.dumps({"small": "diameter_mm < 8", "large": "diameter_mm >= 8"})
    labelled, _ = select(cohort, [], label=label)
    assert labelled["label"].tolist() == ["small", "large", "small", "small"]
    by_column, _ = select(cohort, [], label="diameter_mm")
    assert by_column["label"].tolist() == ["5", "9", "7", "7"]


@pytest.mark.parametrize(
    ("rules", "label", "says"),
    [
        (["ground_gloss"], "", "did you mean 'ground_glass'"),
        (["diameter > 3"], "", "no column 'diameter'"),
        (["diameter_mm > 300"], "", "no lesion is left"),
        ([], "malignant", "did you mean 'malignancy'"),
        ([], '{"all": "diameter_mm > 0", "large": "diameter_mm > 5"}', "several"),
        ([], "[1]", "as text"),
        ([], '{"all": 3}', "as text"),
        (["__import__('os')"], "", "no meaning"),
    ],
)
def test_a_selection_that_cannot_be_followed_is_explained(rules, label, says):
    with pytest.raises(LesionForgeError, match=says):
        select(table(nodule()), rules, label=label)


@pytest.mark.parametrize("name", SELECTIONS)
def test_every_named_selection_can_be_followed(name):
    cohort = table(*[nodule(texture=(1, 1, 1), malignancy=(4, 4, 4))] * 3)
    kept, flow = select(cohort, [name])
    assert len(kept) == 3
    assert len(flow) > 1


@pytest.mark.parametrize("name", LABELLINGS)
def test_every_labelling_gives_each_of_its_classes(name):
    rows = [nodule(texture=(rating,) * 3, malignancy=(rating,) * 3) for rating in (1, 5)]
    kept, _ = select(table(*rows), [], label=name)
    assert set(kept["label"]) == set(LABELLINGS[name].rules)
