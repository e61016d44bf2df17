"""Which lesions are drawn: numbers as asked, patients as evenly as can be, none twice."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.selection import candidates, classes_of, select


def known(patients, *, synthetic=40, labels=("a",)):
    """Real lesions of the patients in that list, and synthetic ones."""
    rows = [(0, row, patient, label, False) for label in labels for row, patient in enumerate(patients)]
    rows += [(1, row, "synthetic:g", label, True) for label in labels for row in range(synthetic)]
    return pd.DataFrame(rows, columns=["set_number", "row", "patient", "label", "synthetic"])


def drawn(table, design, classes=("a",)):
    chosen = select(table, classes, design)
    merged = pd.DataFrame([(each.set_number, each.row, each.training) for each in chosen])
    merged.columns = ["set_number", "row", "training"]
    return merged.merge(table.drop_duplicates(["set_number", "row"]), on=["set_number", "row"])


@settings(deadline=None, max_examples=40)
@given(
    lesions=st.lists(st.integers(1, 6), min_size=2, max_size=12),
    per_class=st.integers(1, 12),
    training=st.integers(0, 3),
    seed=st.integers(0, 5),
)
def test_no_patient_gives_another_lesion_before_all_have_given_one(lesions, per_class, training, seed):
    patients = np.repeat(np.arange(len(lesions)), lesions).astype(str).tolist()
    design = Design(per_class=per_class, training_per_class=training, seed=seed)
    if len(patients) < per_class + training:
        with pytest.raises(LesionForgeError, match="are wanted"):
            select(known(patients), ["a"], design)
        return
    rows = drawn(known(patients), design)
    assert not rows.duplicated(["set_number", "row"]).any()
    assert Counter(zip(rows["synthetic"], rows["training"], strict=True)) == Counter(
        {(side, True): training for side in (False, True)} | {(side, False): per_class for side in (False, True)}
    )
    if training == 0:
        given_ = rows[~rows["synthetic"]]["patient"].value_counts().to_dict()
        most = max(given_.values())
        assert all(given_.get(str(at), 0) >= min(most - 1, has) for at, has in enumerate(lesions))


def test_training_patients_are_not_read_again_if_there_are_others():
    rows = drawn(known(np.repeat(np.arange(8), 2).astype(str).tolist()), Design(per_class=6, training_per_class=2))
    real = rows[~rows["synthetic"]]
    assert not set(real[real["training"]]["patient"]) & set(real[~real["training"]]["patient"])


def test_the_seed_decides():
    table = known([str(number) for number in range(30)])
    first, same, other = (select(table, ["a"], Design(per_class=9, seed=seed)) for seed in (1, 1, 2))
    assert first == same != other


def test_a_class_of_one_origin_alone_is_never_shown():
    table = known(["1", "2"], labels=("a", "b"))
    table = table[~(table["synthetic"] & (table["label"] == "b"))]
    assert classes_of(table, ()) == ("a",)
    with pytest.raises(LesionForgeError, match="the class would tell"):
        classes_of(table, ("a", "b"))
    with pytest.raises(LesionForgeError, match="real ones are of 'a', 'b', synthetic ones of none"):
        classes_of(table[~table["synthetic"]], ())


def test_candidates_are_all_rows_of_all_sets(sets):
    table = candidates(sets)
    assert len(table) == sum(map(len, sets))
    assert table.groupby("set_number")["synthetic"].unique().map(list).to_dict() == {0: [False], 1: [True]}
