"""The leak guard: what a set or a model has seen, and the refusal to be scored on it.

A patient's pixels can reach a training set directly, through augmentation, or through a generator that was
trained on them. So every set of patches, every generator checkpoint and every fitted classifier carries an
`Exposure`, and whoever is about to be scored calls `refuse`. Patients are kept as keyed digests, so that a
checkpoint can be given away without the list of its patients; pixels as digests of the images that augmentation
started from, so that the same image under another patient's name is found as well.
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

    @classmethod
    def to(cls, patients: Iterable[str], pixels: Iterable[str]) -> "Exposure":
        """Exposure to these patients (identifiers) and source images (digests)."""
        return cls(frozenset(map(patient_digest, set(patients))), frozenset(pixels))

    def __or__(self, other: "Exposure") -> "Exposure":
        return Exposure(self.patients | other.patients, self.pixels | other.pixels)

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
        return {"patients": sorted(self.patients), "pixels": sorted(self.pixels)}

    @classmethod
    def from_json(cls, value: object) -> "Exposure":
        """Read what `to_json` wrote; raise StorageError for anything else."""
        if (
            not isinstance(value, Mapping)
            or set(value) != {"patients", "pixels"}
            or not all(isinstance(value[key], list) for key in value)
            or not all(isinstance(item, str) for key in value for item in value[key])
        ):
            raise StorageError("an exposure must list the digests of patients and pixels; this file's does not.")
        return cls(frozenset(value["patients"]), frozenset(value["pixels"]))
