"""`Patches`: the one type that flows through LesionForge.

Axes are (z, y, x): a 2-D image is [y, x], a 3-D one [z, y, x]; positions are in the patient's coordinates
(x to the left, y to the back, z to the head), as in DICOM. N counts patches.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lesionforge.data.exposure import Exposure, pixel_digest
from lesionforge.data.patch_table import (
    AXES,
    IDENTITY,
    POSITION,
    REAL,
    Array,
    axes_of,
    check_images,
    check_table,
    per_axis,
    plain,
)
from lesionforge.errors import LesionForgeError


class Patches:
    """Images of lesions, optional masks, and a table with a row for each. Immutable.

    Parameters
    ----------
    images
        [N, y, x] or [N, z, y, x] in ``unit``; any real dtype, finite.
    table
        N rows. ``patient``, ``scan``, ``label`` (text; an empty label means unlabelled), ``diameter_mm``,
        ``spacing_[z_,]y_,x_mm``, ``position_x,y,z_mm`` (NaN where unknown), ``origin`` (``"real"``, or the id of
        the checkpoint that made the row), ``source_pixels`` (digest of the image that the row was derived from).
        Further columns are kept: text (missing: empty), numbers or true/false. `Patches.of` builds a table.
    masks
        As ``images``, zeros and ones: the lesion's pixels.
    unit
        ``"HU"``, or the source's own.
    generators
        For each synthetic origin in the table: all that its generator was trained on.

    Raises
    ------
    LesionForgeError
        Shapes, columns or values do not fit what is said above.
    """

    def __init__(
        self,
        images: Array,
        table: pd.DataFrame,
        *,
        masks: Array | None = None,
        unit: str = "HU",
        generators: Mapping[str, Exposure] = MappingProxyType({}),
    ) -> None:
        check_images(images, masks)
        table = plain(table)
        if "source_pixels" not in table:
            table = table.assign(source_pixels=[pixel_digest(image) for image in images])
        check_table(table, images)
        origins = set(table["origin"]) - {REAL}
        if missing := origins - set(generators):
            raise LesionForgeError(
                f"every synthetic origin must say what its generator was trained on, but {sorted(missing)} do not: "
                "make synthetic patches with `sample`, and join sets with `concatenate`."
            )
        self.images = _read_only(images)
        self.masks = None if masks is None else _read_only(masks)
        self.unit = unit
        self.generators: Mapping[str, Exposure] = MappingProxyType({o: generators[o] for o in sorted(origins)})
        self._table = table

    @classmethod
    def of(
        cls,
        /,  # a column may be called cls
        images: Array,
        *,
        patient: Sequence[str],
        label: Sequence[str] | str = "",
        spacing_mm: ArrayLike = np.nan,
        masks: Array | None = None,
        unit: str = "HU",
        **columns: Any,
    ) -> "Patches":
        """Real patches from arrays; ``columns`` are further table columns (``diameter_mm``, ``scan``, …).

        ``spacing_mm`` is a number, one for each axis, one for each patch, or [N, axes].
        """
        if given := sorted({"origin", "source_pixels"} & set(columns)):
            raise LesionForgeError(f"{', '.join(given)} cannot be given: real patches get them from their images.")
        images = np.asarray(images)
        count, axes = len(images), axes_of(images)
        spacing = per_axis(spacing_mm, count, len(axes))
        known = {
            "patient": patient,
            "scan": columns.pop("scan", patient),
            "label": label,
            "diameter_mm": columns.pop("diameter_mm", np.nan),
            **{f"spacing_{axis}_mm": spacing[:, i] for i, axis in enumerate(axes)},
            **{name: columns.pop(name, np.nan) for name in POSITION},
            "origin": REAL,
        }
        for name, values in (known | columns).items():
            if not isinstance(values, str) and np.ndim(values) > 0 and len(values) != count:
                raise LesionForgeError(f"{name} must have a value for each of {count} images, but has {len(values)}.")
        return cls(images, pd.DataFrame(known | columns, index=range(count)), masks=masks, unit=unit)

    def __reduce__(self) -> tuple[Any, ...]:  # a read-only mapping cannot go to another process as it is
        keywords: dict[str, Any] = {"masks": self.masks, "unit": self.unit, "generators": dict(self.generators)}
        return partial(Patches, **keywords), (self.images, self._table)

    def __len__(self) -> int:
        return len(self.images)

    def __repr__(self) -> str:
        size = "×".join(map(str, self.shape))
        return f"Patches({len(self)} of {size} in {self.unit}, {self.patients.nunique()} patients)"

    @property
    def table(self) -> pd.DataFrame:
        """A copy of the table: changing it changes nothing here."""
        return self._table.copy(deep=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels along each axis of one patch."""
        return self.images.shape[1:]

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes of one patch."""
        return AXES[self.images.ndim - 1]

    @property
    def patients(self) -> "pd.Series[str]":
        """Patient of each row; of a synthetic row, the name of its generator."""
        return self._table["patient"]

    @property
    def labels(self) -> NDArray[np.str_]:
        """Label of each row, [N]."""
        return self._table["label"].to_numpy(dtype=str)

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that occur, sorted; unlabelled rows do not count."""
        return tuple(sorted(set(self.labels.tolist()) - {""}))

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Pixel spacing, [N, axes]."""
        return self._table[[f"spacing_{axis}_mm" for axis in self.axes]].to_numpy(dtype=np.float64)

    @property
    def is_synthetic(self) -> NDArray[np.bool_]:
        """True where a generator made the row, [N]."""
        return (self._table["origin"] != REAL).to_numpy(dtype=bool)

    @property
    def exposure(self) -> Exposure:
        """All that these rows have seen: their own patients, and their generators' training patients."""
        real = self._table[~self.is_synthetic]
        seen = Exposure.to(real["patient"], self._table["source_pixels"])
        for exposure in self.generators.values():
            seen |= exposure
        return seen

    @cached_property
    def digest(self) -> str:
        """Digest of every pixel and every table value: equal sets have equal digests. Reads all images once."""
        hashed = hashlib.sha256(self._table.to_csv(index=False).encode())
        for array in (self.images, self.masks):
            if array is not None:
                hashed.update(f"{array.dtype.str}{array.shape}".encode())
                hashed.update(np.ascontiguousarray(array).data)
        return hashed.hexdigest()[:16]

    @property
    def summary(self) -> dict[str, Any]:
        """Counts, as JSON: what the set is, by class and by origin. No identifiers."""
        table = self._table
        by_label = {
            label: {
                "patches": len(rows),
                "patients": int(rows.loc[rows["origin"] == REAL, "patient"].nunique()),
                "synthetic": int((rows["origin"] != REAL).sum()),
                "median_diameter_mm": _median(rows["diameter_mm"]),
            }
            for label, rows in table.groupby("label")
        }
        return {
            "patches": len(self),
            "patients": int(table.loc[table["origin"] == REAL, "patient"].nunique()),
            "shape": list(self.shape),
            "unit": self.unit,
            "masks": self.masks is not None,
            "digest": self.digest,
            "labels": by_label,
            "generators": {origin: len(seen.patients) for origin, seen in self.generators.items()},
        }

    def rows(self, selection: ArrayLike) -> "Patches":
        """Return these rows, by number (repeats allowed) or by a boolean mask [N]."""
        index = np.asarray(selection)
        if index.dtype == bool and index.shape != (len(self),):
            raise LesionForgeError(f"a boolean selection must have shape ({len(self)},), but has {index.shape}.")
        index = np.flatnonzero(index) if index.dtype == bool else index
        if index.ndim != 1 or (index.size and index.dtype.kind not in "iu"):
            raise LesionForgeError(f"rows are chosen by whole numbers [n], but {index.dtype} {index.shape} came.")
        index = index.astype(np.int64)
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            raise LesionForgeError(f"rows must be below {len(self)}, but {index.min()} to {index.max()} came.")
        masks = None if self.masks is None else self.masks[index]
        return Patches(
            self.images[index],
            self._table.iloc[index],
            masks=masks,
            unit=self.unit,
            generators=self.generators,
        )

    def with_label(self, label: str) -> "Patches":
        """Return the rows of one class."""
        if label not in self.classes:
            raise LesionForgeError(f"label must be one of {', '.join(self.classes) or 'none'}, but {label!r} came.")
        return self.rows(self.labels == label)

    def with_images(
        self, images: Array, masks: Array | None = None, *, spacing_mm: ArrayLike | None = None
    ) -> "Patches":
        """Return the same lesions with other pixels: cropped, resized, augmented. The rows keep their identity."""
        table = self.table
        if spacing_mm is not None:
            spacing = per_axis(spacing_mm, len(self), len(self.axes))
            table = table.assign(**{f"spacing_{axis}_mm": spacing[:, i] for i, axis in enumerate(self.axes)})
        return Patches(images, table, masks=masks, unit=self.unit, generators=self.generators)

    def with_columns(self, **columns: Any) -> "Patches":
        """Return the same patches with these table columns set. A row's identity cannot be changed."""
        if changed := sorted(set(columns) & set(IDENTITY)):
            raise LesionForgeError(
                f"{', '.join(changed)} say whose pixels a row holds and cannot be changed: the leak guard stands on "
                "them. Correct them in the source and load it again."
            )
        return Patches(
            self.images,
            self.table.assign(**columns),
            masks=self.masks,
            unit=self.unit,
            generators=self.generators,
        )

    def centre_crop(self, size: int | Sequence[int]) -> "Patches":
        """Cut ``size`` pixels (for every axis, or one number an axis) from the middle of each patch."""
        sizes = (size,) * len(self.shape) if isinstance(size, int) else tuple(size)
        if len(sizes) != len(self.shape) or any(not 0 < s <= n for s, n in zip(sizes, self.shape, strict=False)):
            raise LesionForgeError(f"a crop must fit inside patches of {self.shape} pixels, but {sizes} came.")
        # The centre pixel of an odd patch (35 of 71) becomes pixel size // 2 of the crop (32 of 64).
        starts = [n // 2 - s // 2 for s, n in zip(sizes, self.shape, strict=True)]
        window = (slice(None), *(slice(start, start + s) for start, s in zip(starts, sizes, strict=True)))
        return self.with_images(self.images[window], None if self.masks is None else self.masks[window])


def concatenate(sets: Sequence[Patches]) -> Patches:
    """Join sets of the same size and unit; masks survive only if every set has them."""
    if not sets:
        raise LesionForgeError("concatenate needs at least one set of patches, but none came.")
    first = sets[0]
    for other in sets[1:]:
        if other.shape != first.shape or other.unit != first.unit:
            raise LesionForgeError(
                f"sets to join must have one size and unit, but {first.shape} in {first.unit} and {other.shape} in "
                f"{other.unit} came: crop or convert them first."
            )
    masks = [each.masks for each in sets if each.masks is not None]
    return Patches(
        np.concatenate([each.images for each in sets]),
        pd.concat([each.table for each in sets], ignore_index=True),
        masks=np.concatenate(masks) if len(masks) == len(sets) else None,
        unit=first.unit,
        generators=joined_generators(sets),
    )


def joined_generators(sets: Sequence[Patches]) -> dict[str, Exposure]:
    """For each synthetic origin of several sets, all that its generator has seen."""
    generators: dict[str, Exposure] = {}
    for each in sets:
        for origin, exposure in each.generators.items():
            generators[origin] = generators.get(origin, Exposure()) | exposure
    return generators


def _median(column: "pd.Series[float]") -> float | None:
    median = float(column.median())
    return None if np.isnan(median) else round(median, 2)


def _read_only(array: Array) -> Array:
    view = array.view()
    view.flags.writeable = False
    return view
