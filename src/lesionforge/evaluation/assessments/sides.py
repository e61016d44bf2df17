"""Real and synthetic patches that may be compared: whom the generators have seen decides what a real patch is for.

A generator that copies its training set is as near to it as can be, so fidelity is measured on *held-out* patients,
whom no generator of the set has seen. Patients on whom a checkpoint was chosen are neither: they flatter the choice,
and stand in, with a warning, only where there are no others.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.exposure import Exposure, patient_digest
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

FEW_PATIENTS = 30


@dataclass(frozen=True, eq=False)
class Sides:
    """Patches of one size, unit and class, and what each real row is for."""

    real: Patches
    synthetic: Patches
    window: Window
    trained_on: NDArray[np.bool_]  # [M]
    held_out: NDArray[np.bool_]  # [M]; what is neither was judged by
    warnings: tuple[str, ...] = ()

    @classmethod
    def of(cls, real: Patches, synthetic: Patches, *, window: Window, label: str | None = None) -> "Sides":
        """Bring both sets to one size by cropping the larger from its centre, and to one class if asked.

        Raises
        ------
        LesionForgeError
            Rows of one set belong into the other, units differ, or nothing is left.
        """
        if real.is_synthetic.any() or not synthetic.is_synthetic.all():
            raise LesionForgeError(
                "the first set must be real and the second synthetic, but "
                f"{int(real.is_synthetic.sum())} synthetic and {int((~synthetic.is_synthetic).sum())} real rows are in "
                "the wrong one: swap them, or take the rows apart."
            )
        if real.unit != synthetic.unit or window.unit != real.unit or len(real.shape) != len(synthetic.shape):
            raise LesionForgeError(
                f"both sets must be in the window's unit {window.unit!r}, and both planes or both volumes, but real "
                f"ones are {real.shape} in {real.unit!r} and synthetic ones {synthetic.shape} in {synthetic.unit!r}."
            )
        warnings = []
        if label is not None:
            real, synthetic = real.with_label(label), synthetic.with_label(label)
        elif set(synthetic.classes) < set(real.classes):
            real = real.rows(np.isin(real.labels, synthetic.classes))
        if len(synthetic.classes) > 1:
            warnings.append(
                f"The synthetic set has {len(synthetic.classes)} classes: their proportions count as well. Ask for one "
                "class (--label) to leave them out."
            )
        size = tuple(map(min, real.shape, synthetic.shape))
        real, synthetic = (each if each.shape == size else each.centre_crop(size) for each in (real, synthetic))
        seen = Exposure()
        for each in synthetic.generators.values():
            seen |= each
        trained_on, held_out = _rows_in(real, seen.learnt), ~_rows_in(real, seen)
        return cls(real, synthetic, window, trained_on, held_out, tuple(warnings))

    @property
    def patients(self) -> NDArray[np.str_]:
        """Patient of each real row, [M]."""
        return self.real.patients.to_numpy(dtype=str)

    def only_held_out(self) -> "Sides":
        """Leave out the real rows that a generator has seen.

        Raises
        ------
        LesionForgeError
            Training has seen all of them.
        """
        kept, warnings = self.held_out, list(self.warnings)
        if not kept.any():
            kept = ~self.trained_on
            warnings.append(
                "The checkpoint was chosen on these patients: that flatters it. Keep others aside to be sure."
            )
        if not kept.any():
            raise LesionForgeError(
                f"there must be real patients whom the generators have not seen, but all {len(self.real)} patches are "
                "of training patients: split by patient, train on one part, and bring the other."
            )
        if (patients := self.real.patients[kept].nunique()) < FEW_PATIENTS:
            warnings.append(f"Only {patients} real patients are held out: intervals are wide and differences hidden.")
        return replace(self.rows(kept), warnings=tuple(warnings))

    def rows(self, kept: NDArray[np.bool_]) -> "Sides":
        """Keep some of the real rows."""
        return replace(self, real=self.real.rows(kept), trained_on=self.trained_on[kept], held_out=self.held_out[kept])

    def describe(self) -> dict[str, object]:
        """What is compared, as JSON; no identifiers."""
        owners = self.patients
        return {
            "unit": self.real.unit,
            "shape": list(self.real.shape),
            "window": self.window.name,
            "classes": list(self.real.classes),
            "real_patches": len(self.real),
            "real_patients": len(np.unique(owners)),
            "held_out_patients": len(np.unique(owners[~self.trained_on])),
            "training_patients_among_them": len(np.unique(owners[self.trained_on])),
            "synthetic_patches": len(self.synthetic),
            "generators": sorted(self.synthetic.generators),
            "real_digest": self.real.digest,
            "synthetic_digest": self.synthetic.digest,
        }


def _rows_in(patches: Patches, seen: Exposure) -> NDArray[np.bool_]:
    """Whether each row's patient or pixels are among what was seen, [N]."""
    by_name = {name: patient_digest(name) in seen.patients for name in patches.patients.unique()}
    pixels = patches.table["source_pixels"].isin(seen.pixels).to_numpy(dtype=bool)
    return np.asarray(patches.patients.map(by_name).to_numpy(dtype=bool) | pixels)
