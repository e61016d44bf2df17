import contextlib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.data.rules import matches
from lesionforge.errors import LesionForgeError

TABLE = pd.DataFrame(
    {
        "raters": [1, 2, 3, 4],
        "texture": [1.0, 2.5, np.nan, 5.0],
        "maker": ["GE", "Siemens", "", "GE"],
        "seen": [True, False, True, True],
    }
)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("raters >= 2 and texture <= 3", [0, 1, 0, 0]),
        ("raters == 1 or maker == 'GE'", [1, 0, 0, 1]),
        ("2 <= raters < 4", [0, 1, 1, 0]),
        ("not raters > 2", [1, 1, 0, 0]),
        ("raters in [1, 4]", [1, 0, 0, 1]),
        ("raters not in (1, 4)", [0, 1, 1, 0]),
        ("maker in ['GE', 'Philips']", [1, 0, 0, 1]),
        ("maker != 'GE'", [0, 1, 0, 0]),  # a missing text meets no comparison
        ("texture > 0", [1, 1, 0, 1]),
        ("texture != 1", [0, 1, 0, 1]),
        ("texture not in [1]", [0, 1, 0, 1]),
        ("texture == texture", [1, 1, 0, 1]),
        ("seen", [1, 0, 1, 1]),
        ("seen == False", [0, 1, 0, 0]),
        ("(raters > 1) + (texture > 2) + seen >= 2", [0, 1, 1, 1]),
        ("raters * 2 - 1 > -texture + 4 / 2", [0, 1, 0, 1]),
        ("  raters > 3\n", [0, 0, 0, 1]),
        ("True", [1, 1, 1, 1]),
    ],
)
def test_rules_mean_what_they_say(rule, expected):
    met = matches(rule, TABLE)
    assert met.dtype == bool
    assert met.astype(int).tolist() == expected


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("", "cannot be read"),
        ("raters >", "cannot be read"),
        ("raters = 1", "cannot be read"),
        ("(" * 500, "cannot be read"),
        ("-" * 900 + "1 > 0", "cannot be"),
        ("raters > 1 " + " " * 1000, "at most 1000"),
        ("rater > 1", "did you mean 'raters'"),
        ("raters", "must be a question"),
        ("raters and seen", "must be a question"),
        ("not raters", "must be a question"),
        ("maker > 1", "text and numbers"),
        ("maker + 1 > 1", "is text, not a number"),
        ("-maker > 1", "is text, not a number"),
        ("raters in maker", "must be a list"),
        ("raters in []", "must be a list"),
        ("raters in ['a']", "text and numbers"),
        ("raters / (raters - 1) > 1", "divides by zero"),
        ("raters is 1", "has no meaning"),
        ("None", "has no meaning"),
        ("raters == None", "has no meaning"),
    ],
)
def test_what_is_no_rule_is_explained(rule, says):
    with pytest.raises(LesionForgeError, match=says):
        matches(rule, TABLE)


@pytest.mark.parametrize(
    "rule",
    [
        "__import__('os').system('true')",
        "raters.__class__ == 1",
        "raters[0] > 1",
        "@raters > 1",
        "(lambda: 1)() > 0",
        "[raters for raters in [1]] == 1",
        "(raters := 1) > 0",
        "f'{raters}' == '1'",
        "raters ** 99999999 > 1",
        "raters if seen else raters > 1",
        "'a' * 999999999 == 'a'",
        "raters > 1; raters > 2",
        "1j > 0",
        "b'a' == 'a'",
        "... == 1",
        "raters // 2 > 1",
        "~seen",
        "open('x')",
    ],
)
def test_nothing_else_has_a_meaning(rule):
    with pytest.raises(LesionForgeError):
        matches(rule, TABLE)


@given(st.text(alphabet="raters texture()<>=!+-*/[],'.and or not in 0123456789_", max_size=40))
@settings(deadline=None, max_examples=150)
@pytest.mark.filterwarnings("ignore::SyntaxWarning", "ignore::DeprecationWarning")
def test_any_text_is_a_rule_or_explained(text):
    with contextlib.suppress(LesionForgeError):
        assert matches(text, TABLE).shape == (4,)


@given(st.integers(-9, 9), st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), st.sampled_from("+-*"))
@settings(deadline=None, max_examples=40)
def test_rules_agree_with_pandas(number, comparison, operation):
    rule = f"raters {operation} {number} {comparison} raters * 2"
    assert matches(rule, TABLE).tolist() == TABLE.eval(rule).tolist()
