import ast
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import lesionforge
from lesionforge.data import hounsfield
from lesionforge.data.hounsfield import WINDOWS, Window, as_stored, default_window, window_named
from lesionforge.errors import LesionForgeError

SHAPES = hnp.array_shapes(min_dims=0, max_dims=3, max_side=5)
windows = pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
HU_LITERALS = {-1000, -1024, -3024, -860, -600, 3071}


@windows
@given(values=hnp.arrays(np.float32, SHAPES, elements=st.floats(-1, 1, width=32)))
def test_the_map_inverts(window: Window, values):
    back = window.to_symmetric(window.from_symmetric(values))
    assert back.dtype == np.float32
    assert back.shape == values.shape
    np.testing.assert_allclose(back, values, atol=1e-6)


@windows
def test_the_map_equals_interpolation_and_clips(window: Window):
    intensities = np.linspace(window.low - 500, window.high + 500, 1001)
    independent = np.interp(intensities, [window.low, window.high], [-1, 1])
    np.testing.assert_allclose(window.to_symmetric(intensities), independent, atol=2e-6)
    np.testing.assert_allclose(window.to_unit_interval(intensities), (independent + 1) / 2, atol=2e-6)


@windows
@given(hu=hnp.arrays(np.int16, st.tuples(st.integers(2, 30)), elements=st.integers(-1024, 3071)))
def test_the_map_keeps_the_order(window: Window, hu):
    hu.sort()
    assert (np.diff(window.to_symmetric(hu)) >= 0).all()


@windows
def test_the_map_does_not_change_its_input(window: Window):
    intensities = np.linspace(window.low - 1, window.high + 1, 7, dtype=np.float32)
    before = intensities.copy()
    window.to_symmetric(intensities)
    window.to_unit_interval(intensities)
    np.testing.assert_array_equal(intensities, before)


@given(hnp.arrays(np.float64, SHAPES, elements=st.floats(-5000, 5000)))
def test_stored_values_are_whole_and_fit_12_bits(hu):
    stored = as_stored(hu)
    assert stored.dtype == np.int16
    np.testing.assert_array_equal(stored, np.round(np.minimum(np.maximum(hu, -1024), 3071)))


def test_windows_are_found_by_unit():
    assert default_window("HU").name == "lung"
    assert default_window("u8").name == "u8"
    assert window_named("liver", unit="HU") is WINDOWS["liver"]
    with pytest.raises(LesionForgeError, match="one of u8"):
        window_named("lung", unit="u8")
    with pytest.raises(LesionForgeError, match="'parsec' came"):
        default_window("parsec")


def literals(file: Path) -> set[float]:
    """Numbers that a file's code (not its comments) writes out, with their sign."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        match node:
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
                found.add(-number)
            case ast.Constant(value=int() | float() as number):
                found.add(number)
    return found


def test_only_one_file_knows_hounsfield_numbers():
    source = Path(lesionforge.__file__).parent
    assert literals(Path(hounsfield.__file__)) & HU_LITERALS  # the guard sees what it looks for
    phantom = source / "data" / "phantom"  # computes attenuation from stated physics
    strays = {
        str(file.relative_to(source)): sorted(found)
        for file in source.rglob("*.py")
        if file != Path(hounsfield.__file__) and phantom not in file.parents
        if (found := literals(file) & HU_LITERALS)
    }
    assert strays == {}


def test_a_unit_without_windows_is_the_error_not_the_window():
    with pytest.raises(LesionForgeError, match="unit must be one of HU, u8"):
        window_named("lung", unit="gray")
