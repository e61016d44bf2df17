"""Making a study's folder from sets of patches: lesions drawn, made alike, looked at for what gives them away."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lesionforge import __version__
from lesionforge.data.exposure import Exposure, patient_digest
from lesionforge.data.hounsfield import window_named
from lesionforge.data.patch_table import REAL
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.blinding import quantised, tells
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.reading_list import check_repeats
from lesionforge.reader_study.selection import Chosen, candidates, classes_of, select
from lesionforge.reader_study.study import FORMAT, MANIFEST, PIXELS, VERSION, Item, Study
from lesionforge.storage import describe_files, digest, new_folder, write_json


def create(sets: Sequence[Patches], out: Path | str, *, design: Design, size: int = 0) -> Study:
    """Draw the items of a study from sets of patches and write its folder; each row's origin is its truth.

    Parameters
    ----------
    sets
        Real and synthetic lesions, in one unit; both planes, or both volumes.
    size
        Pixels along y and x, cut from the middle; 0 takes the smallest of all sets.

    Raises
    ------
    LesionForgeError
        Sets do not fit each other, or there are too few lesions.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    sets = _of_one_size(sets, size)
    window = window_named(design.window, unit=sets[0].unit)
    known = candidates(sets)
    classes = classes_of(known, design.classes)
    chosen = select(known, classes, design)
    raw = np.stack([sets[each.set_number].images[each.row] for each in chosen])
    pixels = quantised(raw, window, design.step)
    items = _items(sets, chosen, design)
    check_repeats(items, design)
    looked_at = tells(
        pixels,
        np.array([not item.real for item in items]),
        patients=np.array([item.patient if item.real else f"item {place}" for place, item in enumerate(items)]),
    )
    with new_folder(Path(out)) as folder:
        volumes = pixels if pixels.ndim == 4 else pixels[:, None]
        np.save(folder / PIXELS, np.ascontiguousarray(volumes.astype("<i2")), allow_pickle=False)
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "design": design.to_json(),
            "unit": sets[0].unit,
            "classes": list(classes),
            "items": [asdict(item) for item in items],
            "sources": [each.digest for each in sets],
            "tells": looked_at.to_dict("records"),
            "warnings": _warnings(sets, items, looked_at.loc[looked_at["clear"], "number"].tolist()),
            "software": {"lesionforge": __version__},
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": describe_files(folder),
        }
        write_json(folder / MANIFEST, manifest | {"digest": digest(manifest, characters=64)})
    Path(out).chmod(0o700)  # whoever reads study.json knows all answers
    return Study.open(out)


def _of_one_size(sets: Sequence[Patches], size: int) -> list[Patches]:
    shapes = {each.shape for each in sets}
    if not sets or len({len(shape) for shape in shapes}) > 1 or len({each.unit for each in sets}) > 1:
        raise LesionForgeError(
            "a study needs patches in one unit, all planes or all volumes, but "
            f"{', '.join(f'{each.shape} in {each.unit}' for each in sets) or 'none'} came."
        )
    depths = {shape[:-2] for shape in shapes}
    if len(depths) > 1:
        raise LesionForgeError(f"all stacks must have as many slices, but {sorted(depths)} came: cut them alike.")
    smallest = size or min(min(shape[-2:]) for shape in shapes)
    target = (*depths.pop(), smallest, smallest)
    return [each if each.shape == target else each.centre_crop(target) for each in sets]


def _items(sets: Sequence[Patches], chosen: Sequence[Chosen], design: Design) -> list[Item]:
    """Items in the order of ``chosen``; batches hold as many of each class and origin as can be."""
    tables = [each.table for each in sets]
    dealt: Counter[tuple[bool, str]] = Counter()
    items = []
    for each in chosen:
        row = tables[each.set_number].iloc[each.row]
        kind = (row["origin"] == REAL, str(row["label"]))
        # Kinds begin at different batches, so that left-over lesions do not all end in the first ones.
        batch = -1 if each.training else (dealt[kind] + int(kind[0])) % design.batches
        dealt[kind] += not each.training
        spacing = sets[each.set_number].spacing_mm[each.row].tolist()
        known = tuple(value if np.isfinite(value) else None for value in spacing)
        items.append(Item(str(row["origin"]), kind[1], patient_digest(str(row["patient"])), known, batch))
    return items


def _warnings(sets: Sequence[Patches], items: Sequence[Item], clear: Sequence[str]) -> list[str]:
    seen = Exposure()
    for each in sets:
        for exposure in each.generators.values():
            seen |= exposure
    found = [f"The {name} of an item alone tells its origin: see `tells`." for name in clear]
    if trained_on := sum(item.real and item.patient in seen.patients for item in items):
        found.append(f"{trained_on} real items are of patients whom a generator was trained on.")
    per_patient = Counter(item.patient for item in items if item.real)
    if per_patient and max(per_patient.values()) > 1:
        found.append(f"A patient has up to {max(per_patient.values())} lesions: intervals are over patients.")
    return found
