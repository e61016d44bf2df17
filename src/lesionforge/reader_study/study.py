"""A study's folder: the design, the items with their truth, and the pixels. Answers lie in the database.

``study.json`` is what only the owner may see; the folder is closed to other users. ``pixels.npy`` is [N, z, y, x] in
whole numbers, in random order, every item as large as every other. Patients are digests.

N items.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patch_table import REAL
from lesionforge.errors import StorageError
from lesionforge.reader_study.design import Design
from lesionforge.settings import from_json
from lesionforge.storage import check_files, digest, read_manifest

Pixels = NDArray[np.int16]

FORMAT, VERSION = "lesionforge-reader-study", 1
MANIFEST, PIXELS = "study.json", "pixels.npy"


@dataclass(frozen=True)
class Item:
    """A lesion of the study, and its truth."""

    origin: str  # "real", or the id of the generator
    label: str
    patient: str  # a digest
    spacing_mm: tuple[float | None, ...]
    batch: int  # from 0; of training items −1

    @property
    def real(self) -> bool:
        """Whether it is a real lesion."""
        return self.origin == REAL

    @property
    def training(self) -> bool:
        """Whether it only teaches."""
        return self.batch < 0

    @property
    def side(self) -> str:
        """How it counts: real, synthetic or training."""
        return "training" if self.training else REAL if self.real else "synthetic"


@dataclass(frozen=True, eq=False)
class Study:
    """Design and items as they lie on disk."""

    design: Design
    unit: str
    classes: tuple[str, ...]
    items: tuple[Item, ...]
    pixels: Pixels  # [N, z, y, x]
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """What the database and the registration know the study by."""
        return str(self.manifest["digest"])

    @cached_property
    def real(self) -> NDArray[np.bool_]:
        """Whether each item is real, [N]."""
        return np.array([item.real for item in self.items])

    @property
    def presets(self) -> dict[str, tuple[float, float]]:
        """Windows that a viewer offers, lower and upper end."""
        return {name: (window.low, window.high) for name, window in WINDOWS.items() if window.unit == self.unit}

    @property
    def counts(self) -> dict[str, int]:
        """Items that are real, synthetic and for training, as readers may be told."""
        found = Counter(item.side for item in self.items)
        return {side: found[side] for side in (REAL, "synthetic", "training")}

    @property
    def registration(self) -> dict[str, Any]:
        """The whole design as JSON, to be published before the study: nothing in it helps a reader."""
        shown = ("format", "version", "unit", "classes", "sources", "software", "created")
        return {name: self.manifest[name] for name in shown} | {
            "design": self.design.to_json(),
            "words": list(self.design.words),
            "items": self.counts,
            "shape": list(self.pixels.shape[1:]),
            "order": "random for each reader, from the seed; of each batch as many of each class and origin",
            "sha256_of_items": self.manifest["digest"],
        }

    @classmethod
    def open(cls, path: Path | str) -> "Study":
        """Open a folder that `create` wrote; raise StorageError if it is none or was changed."""
        folder = Path(path)
        manifest = read_manifest(folder / MANIFEST, of="a reader study", format_=FORMAT, version=VERSION)
        unsigned = {key: value for key, value in manifest.items() if key != "digest"}
        if manifest.get("digest") != digest(unsigned, characters=64):
            raise StorageError(f"{folder / MANIFEST} was changed: use an unchanged copy, a study cannot be edited.")
        check_files(folder, manifest["files"])
        items = tuple(Item(**{**item, "spacing_mm": tuple(item["spacing_mm"])}) for item in manifest["items"])
        pixels = np.load(folder / PIXELS, mmap_mode="r", allow_pickle=False)
        return cls(
            from_json(Design, manifest["design"]), manifest["unit"], tuple(manifest["classes"]), items, pixels, manifest
        )
