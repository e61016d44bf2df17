from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import (
    balance_patients,
    nested_fractions,
    repeated_kfold,
    stratified_kfold,
    train_validation,
    train_validation_test,
)
from lesionforge.errors import LesionForgeError


def patches_of(lesions: list[tuple[str, str]]) -> Patches:
    """Each lesion is a patient and a label; every image is like no other."""
    images = np.arange(len(lesions) * 4, dtype=np.int16).reshape(-1, 2, 2)
    return Patches.of(images, patient=[patient for patient, _ in lesions], label=[label for _, label in lesions])


@st.composite
def populations(draw, *, fewest: int = 4):
    """Two or three classes, the rare ones barely large enough; patients with many lesions of several classes."""
    lesions = []
    for label in draw(st.sampled_from(["ab", "abc"])):
        for number in range(draw(st.integers(fewest, fewest + 4))):
            others = draw(st.lists(st.sampled_from("ab"), max_size=2))
            lesions += [(f"{label}{number}", each) for each in [label] * draw(st.integers(1, 6)) + others]
    return patches_of(draw(st.permutations(lesions)))


def patients(patches: Patches, rows) -> set[str]:
    return set(patches.patients.iloc[rows])


def assert_apart(patches: Patches, *parts) -> None:
    seen = [patients(patches, part) for part in parts]
    assert sum(map(len, seen)) == len(set().union(*seen))


@given(populations(), st.integers(2, 4), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_kfold_tests_every_row_once_with_every_class_and_no_patient_twice(patches, folds, seed):
    splits = stratified_kfold(patches, folds=folds, seed=seed)
    assert sorted(np.concatenate([split.test for split in splits])) == list(range(len(patches)))
    for split in splits:
        assert set(patches.labels[split.test]) == set(patches.classes)
        assert sorted([*split.train, *split.test]) == list(range(len(patches)))
        assert_apart(patches, split.train, split.test)
        assert split.validation.size == 0
        patches.rows(split.train).exposure.refuse(patches.rows(split.test).exposure, doing="scoring")


@given(populations(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_a_share_is_set_aside_by_patient_and_none_is_tested(patches, seed):
    split = train_validation(patches, validation=0.25, seed=seed)
    assert sorted([*split.train, *split.validation]) == list(range(len(patches)))
    assert_apart(patches, split.train, split.validation)
    assert len(split.test) == 0
    for part in (split.train, split.validation):
        assert set(patches.labels[part]) == set(patches.classes)
    again = train_validation(patches, validation=0.25, seed=seed)
    np.testing.assert_array_equal(again.validation, split.validation)


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5])
def test_the_share_set_aside_is_a_share(share):
    patches = Patches.of(np.zeros((2, 8, 8)), patient=["a", "b"], label=["x", "y"])
    with pytest.raises(LesionForgeError, match="above 0 and below 1"):
        train_validation(patches, validation=share, seed=0)


@given(populations(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_validation_comes_from_the_training_patients(patches, seed):
    without = stratified_kfold(patches, folds=2, seed=seed)
    for plain, split in zip(without, stratified_kfold(patches, folds=2, seed=seed, validation=0.25), strict=True):
        assert sorted([*split.train, *split.validation]) == plain.train.tolist()
        assert_apart(patches, split.train, split.validation, split.test)
        assert set(patches.labels[split.train]) == set(patches.labels[split.validation]) == set(patches.classes)


@given(populations(), st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_three_parts_cover_the_set(patches, seed):
    split = train_validation_test(patches, fractions=(0.6, 0.2, 0.2), seed=seed)
    parts = (split.train, split.validation, split.test)
    assert sorted(np.concatenate(parts)) == list(range(len(patches)))
    assert_apart(patches, *parts)
    assert all(set(patches.labels[part]) == set(patches.classes) for part in parts)


@given(populations(), st.integers(0, 99), st.data())
@settings(deadline=None, max_examples=15)
def test_the_order_of_the_rows_does_not_matter(patches, seed, data):
    order = data.draw(st.permutations(range(len(patches))))
    shuffled = patches.rows(order)

    def partition(of: Patches) -> list:
        split = train_validation_test(of, fractions=(0.5, 0.25, 0.25), seed=seed)
        cuts = nested_fractions(of, np.arange(len(of)), fractions=(0.2, 0.6), seed=seed)
        return [patients(of, part) for part in (split.train, split.validation, *cuts)]

    assert partition(patches) == partition(shuffled)


@given(populations(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_fractions_are_nested_and_hold_every_class(patches, seed):
    rows = stratified_kfold(patches, folds=2, seed=seed)[0].train
    cuts = nested_fractions(patches, rows, seed=seed)
    assert cuts[-1].tolist() == rows.tolist()
    for smaller, larger in pairwise(cuts):
        assert set(smaller) <= set(larger)
    total = len(patients(patches, rows))
    for fraction, cut in zip(np.arange(1, 11) / 10, cuts, strict=True):
        assert set(patches.labels[cut]) == set(patches.labels[rows])
        assert_apart(patches, cut, np.setdiff1d(rows, cut))
        few = len(patients(patches, cut))
        assert few == round(fraction * total) or few <= len(patches.classes)


def test_fractions_keep_the_share_of_the_classes():
    lesions = [(f"rare{n}", "rare") for n in range(20)] + [(f"common{n}", "common") for n in range(180)]
    patches = patches_of(lesions)
    for fraction, cut in zip(
        (0.1, 0.5), nested_fractions(patches, np.arange(200), fractions=(0.1, 0.5), seed=0), strict=True
    ):
        assert abs((patches.labels[cut] == "rare").sum() - 20 * fraction) <= 1


@given(populations(), st.integers(0, 99))
@settings(deadline=None, max_examples=40)
def test_balanced_classes_have_equally_many_patients_of_their_own(patches, seed):
    rows = balance_patients(patches, seed=seed)
    by_class = {label: patients(patches, rows[patches.labels[rows] == label]) for label in patches.classes}
    assert len({len(each) for each in by_class.values()}) == 1
    assert sum(map(len, by_class.values())) == len(set().union(*by_class.values()))


def test_balancing_to_thirty_patients_draws_anew_for_each_seed():
    counts = {"AIS": 30, "MIA": 119, "IAC": 57}
    patches = patches_of([(f"{label}{n}", label) for label, count in counts.items() for n in range(count)])
    draws = [balance_patients(patches, seed=seed) for seed in (0, 1)]
    for rows in draws:
        assert np.unique(patches.labels[rows], return_counts=True)[1].tolist() == [30, 30, 30]
    assert set(draws[0]) != set(draws[1])
    assert len(balance_patients(patches, per_class=7, seed=0)) == 21


def test_each_repeat_of_a_balanced_cross_validation_is_of_other_patients():
    patches = patches_of([(f"{label}{n}", label) for label, count in (("a", 9), ("b", 30)) for n in range(count)])
    drawn = []
    for split in repeated_kfold(patches, folds=3, repeats=2, seed=1, patients_per_class=6):
        rows = np.concatenate([split.train, split.validation, split.test])
        assert patches.rows(rows).table.groupby("label")["patient"].nunique().to_dict() == {"a": 6, "b": 6}
        assert patches.rows(split.test).table["label"].value_counts().to_dict() == {"a": 2, "b": 2}
        drawn.append(set(rows))
    assert drawn[0] == drawn[1] == drawn[2] != drawn[3]


def test_lesions_of_each_class_are_spread_evenly():
    rng = np.random.default_rng(0)
    lesions = [(f"{label}{n}", label) for label, count in (("rare", 30), ("common", 150)) for n in range(count)
               for _ in range(rng.integers(1, 6))]  # fmt: skip
    patches = patches_of(lesions)
    for split in repeated_kfold(patches, folds=3, repeats=3, seed=0):
        for label in patches.classes:
            share = (patches.labels[split.test] == label).sum() / (patches.labels == label).sum()
            assert share == pytest.approx(1 / 3, abs=0.02)


def test_repeats_differ_and_are_the_same_again():
    patches = patches_of([(f"{label}{n}", label) for label in "ab" for n in range(12)])
    splits = repeated_kfold(patches, folds=3, repeats=4, seed=5)
    assert [(split.repeat, split.fold) for split in splits] == [(r, f) for r in range(4) for f in range(3)]
    assert len({tuple(split.test) for split in splits}) == 12
    for one, two in zip(splits, repeated_kfold(patches, folds=3, repeats=2, seed=5), strict=False):
        np.testing.assert_array_equal(one.test, two.test)
    assert any(
        one.test.tolist() != two.test.tolist()
        for one, two in zip(splits, repeated_kfold(patches, folds=3, repeats=4, seed=6), strict=True)
    )


def test_patients_who_share_an_image_stay_together():
    images = np.arange(12 * 4, dtype=np.int16).reshape(-1, 2, 2)
    images[5] = images[0]  # patient 5 is patient 0 under another name
    patches = Patches.of(images, patient=[f"p{n}" for n in range(12)], label=["a", "b"] * 6)
    for seed in range(10):
        for split in stratified_kfold(patches, folds=3, seed=seed):
            assert len({0, 5} & set(split.test)) in (0, 2)
            patches.rows(split.train).exposure.refuse(patches.rows(split.test).exposure, doing="scoring")


def test_a_class_whose_patients_all_have_another_too_is_still_split():
    lesions = [(f"p{n}", label) for n in range(6) for label in "ab"] + [("q", "b")]
    for split in stratified_kfold(patches_of(lesions), folds=3, seed=0):
        assert len(split.test) >= 4


TWO_CLASSES = patches_of([(f"{label}{n}", label) for label, count in (("few", 2), ("many", 9)) for n in range(count)])


@pytest.mark.parametrize(
    ("split", "says"),
    [
        (lambda p: stratified_kfold(p, folds=3, seed=0), "3 patients of every class, but 'few' has 2"),
        (lambda p: stratified_kfold(p, folds=2, seed=0, validation=0.2), "2 patients of every class, but 'few' has 1"),
        (lambda p: train_validation_test(p, fractions=(0.6, 0.2, 0.2), seed=0), "'few' has 2"),
        (lambda p: stratified_kfold(p.rows([0]), folds=2, seed=0), "'few' has 1"),
        (lambda p: stratified_kfold(p.rows([]), folds=2, seed=0), "must have a label"),
        (lambda p: stratified_kfold(p, folds=1, seed=0), "at least 2 folds"),
        (lambda p: repeated_kfold(p, folds=2, repeats=0, seed=0), "1 repeat"),
        (lambda p: stratified_kfold(p, folds=2, seed=-1), "seed"),
        (lambda p: stratified_kfold(p, folds=2, seed=0, validation=1.0), "share"),
        (lambda p: train_validation_test(p, fractions=(0.6, 0.4), seed=0), "three shares"),
        (lambda p: train_validation_test(p, fractions=(0.6, 0.2, 0.1), seed=0), "sum to 1"),
        (lambda p: nested_fractions(p, range(len(p)), fractions=(0.0, 1.0), seed=0), "above 0"),
        (lambda p: nested_fractions(p, range(len(p)), fractions=(1.1,), seed=0), "at most 1"),
        (lambda p: nested_fractions(p, range(len(p)), fractions=(), seed=0), "at most 1"),
        (lambda p: balance_patients(p, per_class=3, seed=0), "'few' has 2"),
        (lambda p: balance_patients(p, per_class=0, seed=0), "at least 1"),
        (lambda p: stratified_kfold(p.with_columns(label=["", *p.labels[1:]]), folds=2, seed=0), "labels != ''"),
    ],
)
def test_what_cannot_be_split_is_explained(split, says):
    with pytest.raises(LesionForgeError, match=says):
        split(TWO_CLASSES)


def test_classes_that_cannot_all_be_in_every_part_are_explained():
    triangle = patches_of([("p", "a"), ("p", "b"), ("q", "b"), ("q", "c"), ("r", "a"), ("r", "c")])
    with pytest.raises(LesionForgeError, match="cannot each hold every class"):
        stratified_kfold(triangle, folds=2, seed=0)


def test_synthetic_rows_are_never_split():
    table = TWO_CLASSES.table.assign(origin="gan-1")
    made = Patches(TWO_CLASSES.images, table, generators={"gan-1": TWO_CLASSES.exposure})
    for patches in (made, concatenate([TWO_CLASSES, made])):
        with pytest.raises(LesionForgeError, match="only real patches"):
            stratified_kfold(patches, folds=2, seed=0)


@pytest.mark.real_data
def test_real_nodules_split_evenly(lidc, lidc_tasks):
    from lesionforge.data.sources.arrays import load_arrays

    patches = load_arrays(lidc, mapping=lidc_tasks.NON_SOLID)
    for split in stratified_kfold(patches, folds=3, seed=0, validation=0.15):
        assert abs(len(split.test) - 391) <= 2
        assert abs((patches.labels[split.test] == "non-solid").sum() - 121 / 3) < 1
        assert_apart(patches, split.train, split.validation, split.test)
