"""The leak guard: what a set or a model has seen, and the refusal to be scored on it.

A patient's pixels can reach a training set directly, through augmentation, or through a generator that was
trained on them. So every set of patches, every generator checkpoint and every fitted classifier carries an
`Exposure`, and whoever is about to be scored calls `refuse`. Patients are kept as keyed digests, so that a
checkpoint can be given away without the list of its patients; pixels as digests of the images that augmentation
started from, so that the same image under another patient's name is found as well.

Some patients have been seen without being learnt from: a choice was made on them, such as which state of a generator
to keep. Nothing may be scored on them either; but further choices may be made, as on all validation patients.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.errors import LeakError, StorageError


def patient_digest(patient: str) -> str:
    """Digest of a patient's identifier: equal for equal identifiers, on every machine."""
    return hashlib.blake2b(patient.encode(), key=b"lesionforge.patient", digest_size=10).hexdigest()


def pixel_digest(image: NDArray[np.generic]) -> str:
    """Digest of one image's size and intensities; whole numbers give the same digest in every dtype."""
    whole = np.ascontiguousarray(np.rint(np.asarray(image, dtype=np.float64) * 16).astype("<i4"))
    return hashlib.blake2b(
        whole.tobytes(), key=str(image.shape).encode(), digest_size=10, usedforsecurity=False
    ).hexdigest()


@dataclass(frozen=True)
class Exposure:
    """Every patient and every source image that something has seen, as digests."""

    patients: frozenset[str] = frozenset()
    pixels: frozenset[str] = frozenset()
    only_judged: frozenset[str] = frozenset()  # those of the above on whom something was chosen, and no more

    @classmethod
    def to(cls, patients: Iterable[str], pixels: Iterable[str]) -> "Exposure":
        """Exposure to these patients (identifiers) and source images (digests)."""
        return cls(frozenset(map(patient_digest, set(patients))), frozenset(pixels))

    def __or__(self, other: "Exposure") -> "Exposure":
        patients, pixels = self.patients | other.patients, self.pixels | other.pixels
        learnt = (self.learnt, other.learnt)
        only_judged = (self.only_judged | other.only_judged).difference(
            *(each.patients for each in learnt), *(each.pixels for each in learnt)
        )
        return Exposure(patients, pixels, only_judged)

    @property
    def learnt(self) -> "Exposure":
        """What was learnt from, without what was only judged by."""
        return Exposure(self.patients - self.only_judged, self.pixels - self.only_judged)

    @property
    def judged(self) -> "Exposure":
        """The exposure of what did not learn from all this, but was chosen by it."""
        return Exposure(self.patients, self.pixels, self.patients | self.pixels)

    def refuse(self, tested: "Exposure", *, doing: str) -> None:
        """Raise LeakError if anything in ``tested`` has been seen.

        The message counts and does not name: it may end in a log, and a log holds no patient identifiers.
        """
        patients, pixels = self.patients & tested.patients, self.pixels & tested.pixels
        if patients or pixels:
            raise LeakError(
                f"{doing} needs patients that training has not seen, directly or through a generator, but "
                f"{len(patients)} of the {len(tested.patients)} patients and {len(pixels)} of the "
                f"{len(tested.pixels)} source images were seen. Split by patient first, then train the generator "
                "and the classifier on the training patients alone."
            )

    def to_json(self) -> dict[str, list[str]]:
        """As sorted lists, for a manifest."""
        seen = {"patients": sorted(self.patients), "pixels": sorted(self.pixels)}
        return seen | ({"only_judged": sorted(self.only_judged)} if self.only_judged else {})

    @classmethod
    def from_json(cls, value: object) -> "Exposure":
        """Read what `to_json` wrote; raise StorageError for anything else."""
        if (
            not isinstance(value, Mapping)
            or not {"patients", "pixels"} <= set(value) <= {"patients", "pixels", "only_judged"}
            or not all(isinstance(value[key], list) for key in value)
            or not all(isinstance(item, str) for key in value for item in value[key])
        ):
            raise StorageError("an exposure must list the digests of patients and pixels; this file's does not.")
        return cls(*(frozenset(value.get(key, ())) for key in ("patients", "pixels", "only_judged")))
