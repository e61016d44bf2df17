import json
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from lesionforge.errors import LesionForgeError
from lesionforge.settings import (
    Count,
    CountOrZero,
    Odd,
    Rate,
    Share,
    Widths,
    from_json,
    nearest,
    to_json,
    with_overrides,
)


@dataclass(frozen=True)
class Optimiser:
    learning_rate: float = 1e-3
    nesterov: bool = False


@dataclass(frozen=True)
class Method:
    width: int = 64
    channels: tuple[int, ...] = (32, 64)
    window: str = "lung"
    spacing_mm: float | None = None
    optimiser: Optimiser = Optimiser()
    derived: int = field(init=False, default=0)


@hypothesis_settings(deadline=None, max_examples=50)
@given(
    width=st.integers(),
    channels=st.lists(st.integers(), max_size=4).map(tuple),
    rate=st.floats(allow_nan=False),
    nesterov=st.booleans(),
    window=st.text(),
)
def test_what_was_written_is_read_back(width, channels, rate, nesterov, window):
    optimiser = Optimiser(rate, nesterov)
    value = Method(width, channels, window, optimiser=optimiser)
    stored = json.loads(json.dumps(to_json(value)))
    inner = from_json(Optimiser, stored.pop("optimiser"))
    del stored["derived"]
    again = from_json(Method, stored | {"optimiser": inner})
    assert again == value
    assert type(again.channels) is tuple


def test_missing_fields_keep_their_defaults():
    assert from_json(Method, {"width": 8}) == Method(width=8)


def test_dataclasses_mappings_and_tuples_are_written_to_any_depth():
    assert to_json({1: (Optimiser(), [Optimiser(0.5)])}) == {
        "1": [{"learning_rate": 1e-3, "nesterov": False}, [{"learning_rate": 0.5, "nesterov": False}]]
    }


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("width=12", Method(width=12)),
        (" width = 12 ", Method(width=12)),
        ("width=1e3", Method(width=1000)),
        ("channels=[8,16,32]", Method(channels=(8, 16, 32))),
        ("channels=[]", Method(channels=())),
        ("window=liver", Method(window="liver")),
        ("window=a=b", Method(window="a=b")),
        ("window=12", Method(window="12")),
        ("window=", Method(window="")),
        ("spacing_mm=0.7", Method(spacing_mm=0.7)),
        ("spacing_mm=null", Method()),
        ("optimiser.learning_rate=1e-4", Method(optimiser=Optimiser(1e-4))),
        ("optimiser.nesterov=true", Method(optimiser=Optimiser(nesterov=True))),
    ],
)
def test_an_override_is_read_as_its_fields_type(override, expected):
    changed = with_overrides(Method(spacing_mm=None), [override])
    assert changed == expected
    assert type(changed.width) is int


def test_overrides_apply_in_order_and_leave_the_original():
    method = Method()
    assert with_overrides(method, ["width=1", "channels=[1]", "width=2"]) == Method(width=2, channels=(1,))
    assert method == Method()


@pytest.mark.parametrize(
    ("override", "why"),
    [
        ("width", "key=value, but 'width' came"),
        ("widht=3", "no setting 'widht'; did you mean 'width'"),
        ("=3", "no setting ''"),
        ("derived=3", "no setting 'derived'"),
        ("width=wide", "setting width does not fit.*'wide'"),
        ("width=1.5", "setting width does not fit.*'1.5'"),
        ("channels=8", "setting channels does not fit"),
        ('channels=["a"]', "setting channels does not fit"),
        ("spacing_mm=thin", "setting spacing_mm does not fit"),
        ("optimizer.learning_rate=1", "no settings under 'optimizer'; did you mean 'optimiser'"),
        ("width.height=1", "no settings under 'width'"),
        ("optimiser.momentum=1", "Optimiser has no setting 'momentum'"),
        ("optimiser.nesterov=perhaps", "setting nesterov does not fit"),
    ],
)
def test_an_override_that_does_not_fit_says_why(override, why):
    with pytest.raises(LesionForgeError, match=why):
        with_overrides(Method(), [override])


@dataclass(frozen=True)
class Bounded:
    batch_size: Count = 1
    images: CountOrZero = 0
    kernel: Odd = 1
    dropout: Share = 0.0
    learning_rate: Rate = 0.1
    channels: Widths = (1,)


@pytest.mark.parametrize(
    "override",
    [
        "batch_size=0",
        "batch_size=-4",
        "images=-1",
        "kernel=4",
        "kernel=-1",
        "dropout=1",
        "dropout=-0.1",
        "dropout=nan",
        "learning_rate=0",
        "learning_rate=nan",
        "learning_rate=inf",
        "channels=[]",
        "channels=[4,0]",
    ],
)
def test_a_value_out_of_bounds_is_refused(override):
    with pytest.raises(LesionForgeError, match=f"setting {override.partition('=')[0]} does not fit"):
        with_overrides(Bounded(), [override])


def test_values_at_the_bounds_are_taken():
    least = ["batch_size=1", "images=0", "kernel=1", "dropout=0", "learning_rate=1e-300", "channels=[1]"]
    assert with_overrides(Bounded(), least) == Bounded(learning_rate=1e-300)


def test_a_name_that_is_no_field_is_refused():
    with pytest.raises(LesionForgeError, match=r"Method has no setting 'size'.*There are: channels,"):
        from_json(Method, {"size": 3})
    with pytest.raises(LesionForgeError, match="width does not fit"):
        from_json(Method, {"width": None})


def test_the_nearest_name_is_offered_only_where_it_is_near():
    assert nearest("dcgna", ["dcgan", "acgan"]) == "; did you mean 'dcgan'? There are: acgan, dcgan."
    assert nearest("xyz", ["dcgan"]) == ". There are: dcgan."
    assert nearest("xyz", []) == ". There are: none."


@dataclass(frozen=True)
class Part:
    name: str
    size: int = 1


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...] = (Part("first"), Part("second"))


def test_one_of_several_is_reached_by_its_name():
    assert with_overrides(Whole(), ["parts.second.size=3"]) == Whole((Part("first"), Part("second", 3)))


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("parts.secnd.size=3", "did you mean 'second'"),
        ("parts.second=3", "must be followed by a name and a setting"),
        ("parts.second.sise=3", "Part has no setting 'sise'"),
        ("part.second.size=3", "did you mean 'parts'"),
    ],
)
def test_a_wrong_way_to_one_of_several_is_explained(override, says):
    with pytest.raises(LesionForgeError, match=says):
        with_overrides(Whole(), [override])
