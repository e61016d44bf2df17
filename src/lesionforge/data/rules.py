"""Rules over a table's columns: ``n_raters >= 3 and 7 <= diameter_mm <= 15``.

A rule is read with Python's own grammar, of which only comparisons, ``and``, ``or``, ``not``, ``in [...]``,
``+ - * /``, column names, numbers and text have a meaning here; nothing is ever executed. True counts as 1,
so that ``(reader_1 <= 2) + (reader_2 <= 2) >= 2`` asks for two readers. A missing value meets no comparison.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError
from lesionforge.settings import nearest

LONGEST_RULE = 1000
COMPARISONS: dict[type[ast.cmpop], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
ARITHMETIC: dict[type[ast.operator], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

Column = NDArray[Any]  # [N] float64 (NaN: missing), text ("": missing) or bool


def matches(rule: str, table: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which rows of ``table`` meet ``rule``, [N].

    Raises
    ------
    LesionForgeError
        The rule cannot be read, uses something that rules do not have or a column that is not there, compares
        text with numbers, divides by zero, or is no question.
    """
    if len(rule) > LONGEST_RULE:
        raise LesionForgeError(f"a rule must have at most {LONGEST_RULE} characters, but {len(rule)} came.")
    try:
        tree = ast.parse(rule.strip(), mode="eval")
        met = _Rule(rule, table).value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        if isinstance(error, LesionForgeError):
            raise
        raise LesionForgeError(f"the rule {rule!r} cannot be read: {error}.") from None
    if met.dtype != bool:
        raise LesionForgeError(f"the rule {rule!r} must be a question, such as `diameter_mm > 7`.")
    return met


def class_of(rules: Mapping[str, str], table: pd.DataFrame) -> NDArray[np.str_]:
    """Name the class whose rule each row meets, [N]; empty where it meets none.

    Raises
    ------
    LesionForgeError
        A row meets several rules, or as for `matches`.
    """
    met = {label: matches(rule, table) for label, rule in rules.items()}
    several = np.sum(list(met.values()), axis=0) > 1
    if np.any(several):
        raise LesionForgeError(
            f"a row must meet one rule at most, but {np.sum(several)} rows meet several, the first is row "
            f"{int(np.argmax(several))}: make the rules exclude each other."
        )
    return np.select(list(met.values()), list(met), default="") if met else np.full(len(table), "")


class _Rule:
    """Values of a rule's parts over a table."""

    def __init__(self, rule: str, table: pd.DataFrame) -> None:
        self._rule = rule
        self._table = table

    def value(self, node: ast.expr) -> Column:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as constant):
                return self._constant(constant)
            case ast.Name(id=name):
                return self._column(name)
            case ast.BoolOp(op=operation, values=parts):
                join = np.logical_and if isinstance(operation, ast.And) else np.logical_or
                return np.asarray(join.reduce([self._question(part) for part in parts]))
            case ast.UnaryOp(op=ast.Not(), operand=part):
                return ~self._question(part)
            case ast.UnaryOp(op=ast.USub(), operand=part):
                return -self._number(part)
            case ast.BinOp(left=left, op=operation, right=right) if type(operation) in ARITHMETIC:
                return self._arithmetic(operation, self._number(left), self._number(right))
            case ast.Compare(left=left, ops=operations, comparators=others):
                sides = [left, *others]
                pairs = zip(sides, operations, sides[1:], strict=False)
                return np.asarray(np.logical_and.reduce([self._compare(*pair) for pair in pairs]))
        raise self._error(f"{ast.unparse(node)!r} has no meaning here")

    def _constant(self, constant: bool | float | str) -> Column:
        return np.full(len(self._table), constant if isinstance(constant, (bool, str)) else float(constant))

    def _column(self, name: str) -> Column:
        if name not in self._table:
            raise self._error(f"there is no column {name!r}{nearest(name, map(str, self._table))[:-1]}")
        column = self._table[name]
        if pd.api.types.is_bool_dtype(column):
            return column.to_numpy(dtype=bool)
        if pd.api.types.is_numeric_dtype(column):
            return column.to_numpy(dtype=np.float64)
        return column.fillna("").to_numpy(dtype=str)

    def _question(self, node: ast.expr) -> NDArray[np.bool_]:
        value = self.value(node)
        if value.dtype != bool:
            raise self._error(f"{ast.unparse(node)!r} must be a question, such as `diameter_mm > 7`")
        return value

    def _number(self, node: ast.expr) -> NDArray[np.float64]:
        value = self.value(node)
        if value.dtype.kind == "U":
            raise self._error(f"{ast.unparse(node)!r} is text, not a number")
        return value.astype(np.float64)

    def _arithmetic(self, operation: ast.operator, left: Column, right: Column) -> Column:
        if isinstance(operation, ast.Div) and (right == 0).any():
            raise self._error("it divides by zero")
        with np.errstate(over="ignore", invalid="ignore"):
            return np.asarray(ARITHMETIC[type(operation)](left, right))

    def _compare(self, left: ast.expr, operation: ast.cmpop, right: ast.expr) -> NDArray[np.bool_]:
        if isinstance(operation, (ast.In, ast.NotIn)):
            if not isinstance(right, (ast.List, ast.Tuple)) or not right.elts:
                raise self._error(f"{ast.unparse(right)!r} must be a list, such as ['a', 'b']")
            inside = np.logical_or.reduce([self._compare(left, ast.Eq(), item) for item in right.elts])
            return np.asarray(inside if isinstance(operation, ast.In) else ~inside & _known(self.value(left)))
        if type(operation) not in COMPARISONS:
            raise self._error("`is` has no meaning here: use ==")
        first, second = self.value(left), self.value(right)
        if (first.dtype.kind == "U") != (second.dtype.kind == "U"):
            raise self._error(f"{ast.unparse(left)!r} and {ast.unparse(right)!r} are text and numbers")
        return np.asarray(COMPARISONS[type(operation)](first, second) & _known(first) & _known(second))

    def _error(self, why: str) -> LesionForgeError:
        return LesionForgeError(f"the rule {self._rule!r} cannot be followed: {why}.")


def _known(values: Column) -> NDArray[np.bool_]:
    return np.asarray(values != "") if values.dtype.kind == "U" else ~np.isnan(values.astype(np.float64))
