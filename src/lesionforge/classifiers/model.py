"""A model for use: the classifiers of all folds, who answer together.

Each has learnt from other patients, so how far they disagree says how much an answer hangs on the patients that a
classifier happened to learn from. A patch that is unlike what most of them have seen gets no answer. Nothing is scored
here, so patients whom fitting has seen are let through; the answer says that they are.

On disk a model is a folder: ``model.json``, a folder for each member as `FittedClassifier.save` writes it, and
``MODEL_CARD.md``. A single saved classifier is opened as a model of one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.classifiers import saved
from lesionforge.classifiers.contract import MANIFEST as OF_CLASSIFIER
from lesionforge.classifiers.contract import Facts, FittedClassifier, FloatArray
from lesionforge.data.exposure import patient_digest
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.storage import (
    check_files,
    describe_files,
    digest,
    new_folder,
    read_manifest,
    write_json,
    write_text,
)

FORMAT = "lesionforge-model"
VERSION = 1
MANIFEST = "model.json"
CARD = "MODEL_CARD.md"
REFUSAL = "unlike anything that the model has learnt from: no answer is given"

# M members, N patches, K classes.


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model says of patches.

    Parameters
    ----------
    classes
        Their names, in the order of the columns.
    probability
        [N, K], mean of the members'.
    spread
        [N, K], standard deviation of the members'; NaN of a single member.
    strangeness
        [N], how unlike the training patches: above 1 for more than half of the members is refused; NaN: unknown.
    seen
        [N], whether the model has learnt from this patient or image, and is surer of it than it should be.
    """

    classes: tuple[str, ...]
    probability: FloatArray
    spread: FloatArray
    strangeness: FloatArray
    seen: NDArray[np.bool_]

    @property
    def refused(self) -> NDArray[np.bool_]:
        """Which patches get no answer, [N]."""
        return self.strangeness > 1

    def to_json(self) -> list[dict[str, Any]]:
        """An object for each patch; what is refused has no probabilities."""
        return [self._row(row) for row in range(len(self.probability))]

    def to_table(self) -> pd.DataFrame:
        """A row for each patch: refused, strangeness, seen, p_<class>…, spread_<class>…; NaN where refused."""
        columns: dict[str, Any] = {"refused": self.refused, "strangeness": self.strangeness, "seen": self.seen}
        for prefix, values in (("p", self.probability), ("spread", self.spread)):
            shown = np.where(self.refused[:, None], np.nan, values)
            columns |= {f"{prefix}_{name}": shown[:, k] for k, name in enumerate(self.classes)}
        return pd.DataFrame(columns)

    def _row(self, row: int) -> dict[str, Any]:
        refused = bool(self.refused[row])
        values = {"probability": self.probability[row], "spread": self.spread[row]}
        named = {
            key: None if refused or np.isnan(found).any() else dict(zip(self.classes, found.tolist(), strict=True))
            for key, found in values.items()
        }
        strangeness = float(self.strangeness[row])
        return {
            "refused": REFUSAL if refused else None,
            **named,
            "strangeness": None if np.isnan(strangeness) else strangeness,
            "seen": bool(self.seen[row]),
        }


class Model:
    """Classifiers that were fitted alike, on different patients of one set.

    Raises
    ------
    LesionForgeError
        There are none, or they know different classes or patches.
    """

    def __init__(self, members: Sequence[FittedClassifier]) -> None:
        if len({(each.facts.classes, each.facts.shape, each.facts.window) for each in members}) != 1:
            raise LesionForgeError(
                "a model needs classifiers, one or more, of the same classes and the same size and window of patches: "
                "take those of one run."
            )
        self.members = tuple(members)

    @property
    def facts(self) -> Facts:
        """What the members were fitted on, together."""
        first, known = self.members[0].facts, [each.facts.spacing_mm for each in self.members]
        spacing: tuple[tuple[float, float], ...] = ()
        if all(known):
            spacing = tuple(
                (min(low for low, _ in axis), max(high for _, high in axis)) for axis in zip(*known, strict=True)
            )
        return replace(first, spacing_mm=spacing, exposure=reduce(or_, (each.facts.exposure for each in self.members)))

    @property
    def summary(self) -> dict[str, Any]:
        """What a user must know to ask it, as JSON. No identifiers."""
        facts, first = self.facts, self.members[0]
        return {
            "classes": list(facts.classes),
            "shape": list(facts.shape),
            "unit": facts.window.unit,
            "window": facts.window.name,
            "spacing_mm": [list(axis) for axis in facts.spacing_mm],
            "members": len(self.members),
            "calibrated": all(each.calibration is not None for each in self.members),
            "refuses": all(each.familiarity is not None for each in self.members),
            "parameters": first.parameters,
            "patients_seen": len(facts.exposure.patients),
        }

    def answer(self, patches: Patches) -> Answers:
        """Say what each patch shows.

        Raises
        ------
        LesionForgeError
            The patches have another size, unit or spacing than what was learnt from.
        """
        each = np.stack([member.predict_proba(patches, already_seen=True) for member in self.members])
        strangeness = np.stack([member.strangeness(patches, already_seen=True) for member in self.members])
        return Answers(
            self.facts.classes,
            probability=each.mean(axis=0),
            spread=each.std(axis=0, ddof=1) if len(each) > 1 else np.full(each.shape[1:], np.nan),
            strangeness=np.median(strangeness, axis=0),
            seen=self._seen(patches),
        )

    def _seen(self, patches: Patches) -> NDArray[np.bool_]:
        exposure, table = self.facts.exposure, patches.table
        return np.array(
            [
                patient_digest(patient) in exposure.patients or pixels in exposure.pixels
                for patient, pixels in zip(table["patient"], table["source_pixels"], strict=True)
            ],
            dtype=bool,
        )

    def save(self, path: Path | str, *, card: str, overwrite: bool = False) -> Path:
        """Write the model and its card (Markdown) to the folder ``path``."""
        path = Path(path)
        with new_folder(path, overwrite=overwrite) as folder:
            for number, member in enumerate(self.members):
                member.save(folder / _member(number))
            write_text(folder / CARD, card)
            manifest = {
                "format": FORMAT,
                "version": VERSION,
                "members": len(self.members),
                "summary": self.summary,
                "files": describe_files(folder),
            }
            write_json(folder / MANIFEST, manifest | {"digest": digest(manifest)})
        return path


def load(path: Path | str) -> Model:
    """Open a model, or a saved classifier as a model of one.

    Raises
    ------
    StorageError
        The folder is missing, foreign, cut short or changed.
    """
    path = Path(path)
    if (path / OF_CLASSIFIER).exists():
        return Model([saved.load(path)])
    manifest = read_manifest(path / MANIFEST, of="a model", format_=FORMAT, version=VERSION)
    if manifest.pop("digest", None) != digest(manifest):
        raise StorageError(f"{path / MANIFEST} does not match its checksum: it was changed, copy or fit it again.")
    try:
        check_files(path, manifest["files"])
        members = [saved.load(path / _member(number)) for number in range(manifest["members"])]
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path / MANIFEST} is incomplete ({error!r}): fit it again.") from error
    return Model(members)


def _member(number: int) -> str:
    return f"member-{number}"
