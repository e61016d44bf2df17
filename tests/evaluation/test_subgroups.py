import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.statistics import compare
from lesionforge.evaluation.subgroups import OTHER, UNKNOWN, parts_of, subgroup_table

RESAMPLES = 200


def patients(count, each=1):
    return pd.Series(np.repeat([f"p{number}" for number in range(count)], each))


def test_numbers_are_cut_into_thirds_named_by_their_bounds():
    parts = parts_of(pd.Series([*range(1, 10), np.nan]), patients(10))
    assert list(parts.categories) == ["below 4", "4 to 7", "7 and above", UNKNOWN]
    assert list(parts) == ["below 4"] * 3 + ["4 to 7"] * 3 + ["7 and above"] * 3 + [UNKNOWN]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 1, 1, 1, 2, 2], {"below 2": 4, "2 and above": 2}),
        ([5.0] * 6, {"all alike": 6}),
        ([np.nan] * 6, {UNKNOWN: 6}),
        ([1, 1, 1, 1, 1, 2], {"all alike": 6}),
    ],
)
def test_numbers_of_few_values_have_fewer_parts(values, expected):
    parts = parts_of(pd.Series(values), patients(6))
    assert pd.Series(list(parts)).value_counts().to_dict() == expected


def test_names_of_few_patients_are_joined_and_so_no_identifier_is_left():
    values = pd.Series(["GE"] * 10 + ["Siemens"] * 5 + ["Philips"] * 4 + ["", None])
    parts = parts_of(values, patients(21))
    assert list(parts.categories) == ["GE", "Siemens", OTHER, UNKNOWN]
    assert list(parts)[-6:] == [OTHER] * 4 + [UNKNOWN] * 2
    names = patients(30)
    assert set(parts_of(names, names)) == {OTHER}
    assert set(parts_of(pd.Series([True, False] * 10), patients(20))) == {"True", "False"}


def test_a_part_is_compared_as_its_rows_alone_would_be(simulate):
    first, second = simulate(separation=1.0), simulate(separation=2.0, noise_seed=1)
    size = np.where(first.row % 2 == 0, "small", "large")
    groups = {"size": pd.Categorical(size, categories=["small", "large"]), "all": pd.Categorical(["x"] * len(first))}
    table = subgroup_table(first, second, groups, resamples=RESAMPLES)
    assert table[["subgroup", "part"]].to_numpy().tolist() == [["size", "small"], ["size", "large"], ["all", "x"]]
    np.testing.assert_allclose(table["level"], 1 - 0.05 / 3)
    for (_, row), places in zip(table.iterrows(), (size == "small", size == "large", size != ""), strict=True):
        alone = compare(first.at(places), second.at(places), resamples=RESAMPLES, level=1 - 0.05 / 3)
        assert (row["difference"], row["low"], row["high"]) == (alone.difference, alone.low, alone.high)
        assert row["verdict"] == alone.verdict
        assert (row["lesions"], row["patients"]) == (places.sum(), first.at(places).n_patients)


def test_a_part_with_too_few_patients_of_a_class_is_counted_and_not_judged(simulate):
    first = simulate(patients=20)
    few = pd.Categorical(np.where(first.row < 12, "few", "enough"))
    table = subgroup_table(first, simulate(patients=20, noise_seed=1), {"half": few}, resamples=RESAMPLES)
    found = table.set_index("part")
    assert found.loc["few", "patients"] == 4
    assert found.loc["few", ["difference", "low", "high", "verdict"]].isna().all()
    assert np.isfinite(found.loc["enough", "difference"])
    assert found.loc["enough", "level"] == 0.95


def test_a_subgroup_must_cover_the_rows(simulate):
    with pytest.raises(LesionForgeError, match="'size' must have a part for each row"):
        subgroup_table(simulate(), simulate(noise_seed=1), {"size": pd.Categorical(["a"])})
