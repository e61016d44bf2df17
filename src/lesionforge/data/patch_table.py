"""The parts of a `Patches` checked: images, masks and table must fit each other and what a file can keep."""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lesionforge.errors import LesionForgeError

REAL = "real"
IDENTITY = ("patient", "origin", "source_pixels")  # fixed when a row is made: the leak guard stands on them
POSITION = ("position_x_mm", "position_y_mm", "position_z_mm")
AXES = {2: ("y", "x"), 3: ("z", "y", "x")}

Array = NDArray[Any]


def plain(table: pd.DataFrame) -> pd.DataFrame:
    """Bring every column to what a file keeps exactly: text, int64, float64 or bool."""
    names = table.columns.tolist()
    if bad := [name for name in names if not isinstance(name, str) or not name or not name.isprintable()]:
        raise LesionForgeError(f"a table's columns must have printable names, but {bad[0]!r} came.")
    if len(set(names)) < len(names):
        raise LesionForgeError("a table's columns must have names of their own, but some share one: rename them.")
    return pd.DataFrame({name: _plain_column(table[name]) for name in names}, index=range(len(table)))


def _plain_column(column: "pd.Series[Any]") -> "NDArray[Any] | pd.Series[Any]":
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(object)
    kind = pd.api.types.infer_dtype(column, skipna=True)
    if kind == "string" or (kind == "empty" and not len(column)):
        return column.astype(object).fillna("").astype("str").reset_index(drop=True)
    if kind in {"boolean", "integer"} and not column.isna().any():
        return column.to_numpy(dtype=bool if kind == "boolean" else np.int64)
    if kind in {"boolean", "integer", "floating", "mixed-integer-float", "empty"}:
        return column.to_numpy(dtype=np.float64, na_value=np.nan)
    raise LesionForgeError(
        f"column {column.name!r} must hold text, numbers or true/false, but holds {kind} values: convert it first."
    )


def axes_of(images: Array) -> tuple[str, ...]:
    """Names of the axes of one image; raise LesionForgeError unless the images are [N, y, x] or [N, z, y, x]."""
    if images.ndim - 1 not in AXES or 0 in images.shape[1:]:
        raise LesionForgeError(f"images must have shape [N, y, x] or [N, z, y, x], but {images.shape} came.")
    return AXES[images.ndim - 1]


def check_images(images: Array, masks: Array | None) -> None:
    """Raise LesionForgeError unless the images are finite and [N, y, x] or [N, z, y, x], and masks fit them."""
    axes_of(images)
    if images.dtype.kind not in "iuf":
        raise LesionForgeError(f"images must hold real numbers, but {images.dtype} came.")
    # A memory-mapped set was checked when it was written; reading it all again would undo the mapping.
    if images.dtype.kind == "f" and not isinstance(images, np.memmap) and not np.isfinite(images).all():
        bad = np.flatnonzero(~np.isfinite(images).reshape(len(images), -1).all(axis=1))
        raise LesionForgeError(
            f"images must be finite, but {len(bad)} of {len(images)} hold NaN or infinity (the first is number "
            f"{bad[0]}): drop them or fill the missing pixels with air."
        )
    if masks is not None and masks.shape != images.shape:
        raise LesionForgeError(f"masks must have the images' shape {images.shape}, but {masks.shape} came.")
    if masks is not None and not isinstance(masks, np.memmap) and masks.size and (masks.min() < 0 or masks.max() > 1):
        raise LesionForgeError("masks must hold 0 and 1 alone: choose one lesion's value and compare with it.")


def check_table(table: pd.DataFrame, images: Array) -> None:
    """Raise LesionForgeError unless the table has every column that is needed, a row for each image, fit values."""
    spacing = [f"spacing_{axis}_mm" for axis in axes_of(images)]
    texts = ["patient", "scan", "label", "origin", "source_pixels"]
    numbers = ["diameter_mm", *spacing, *POSITION]
    if missing := [name for name in texts + numbers if name not in table]:
        raise LesionForgeError(f"the table must have the columns {', '.join(missing)}: `Patches.of` adds them.")
    if len(table) != len(images):
        raise LesionForgeError(f"the table must have a row for each of {len(images)} images, but has {len(table)}.")
    for name in texts:
        values = table[name].tolist()
        bad = [
            row
            for row, value in enumerate(values)
            if not isinstance(value, str) or not value.isprintable() or (not value and name != "label")
        ]
        if bad:
            raise LesionForgeError(
                f"{name} must be printable text in every row{' (empty: unlabelled)' if name == 'label' else ''}, but "
                f"{len(bad)} of {len(values)} rows are not; the first is row {bad[0]}."
            )
    for name in numbers:
        kind = "a finite number" if name in POSITION else "a number above 0"
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise LesionForgeError(f"{name} must be {kind} or missing in every row, but {name} holds text.")
        numeric = table[name].to_numpy(dtype=np.float64)
        unfit = np.isinf(numeric) | (numeric <= 0 if name not in POSITION else False)
        if unfit.any():
            raise LesionForgeError(f"{name} must be {kind} or missing; row {int(np.argmax(unfit))} is not.")


def per_axis(spacing_mm: ArrayLike, count: int, axes: int) -> NDArray[np.float64]:
    """Return a spacing said for all patches, for each axis or for each patch as [count, axes]."""
    spacing = np.asarray(spacing_mm, dtype=np.float64)
    if spacing.shape == (count,) and count != axes:
        spacing = spacing[:, None]
    try:
        return np.broadcast_to(spacing, (count, axes))
    except ValueError:
        raise LesionForgeError(
            f"spacing_mm must be a number, {axes} numbers, or have shape ({count}, {axes}); it has {spacing.shape}."
        ) from None
