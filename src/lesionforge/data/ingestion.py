"""Data of any format become a folder of patches: what `lesionforge ingest` does."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lesionforge import registry
from lesionforge.data import cutting, patches_file, selection
from lesionforge.data.cohort import RECORD, CohortPlan
from lesionforge.data.cohort import ingest as ingest_cohort
from lesionforge.data.cutter import Cutter
from lesionforge.data.patches import Patches
from lesionforge.data.recognition import AUTO, source_at
from lesionforge.data.source import PatchSource, ScanSource, Source
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import nearest, with_overrides
from lesionforge.storage import refuse_existing

DEFAULT_CUT = "largest_slices"


@dataclass(frozen=True)
class Request:
    """What a user asks of an ingestion.

    Parameters
    ----------
    format_
        A format's name, or ``auto``.
    select, label
        As in `lesionforge.data.selection.select`.
    cut
        A file in `lesionforge.data.cutting`; scans only.
    size
        Pixels along an edge, or along (z,) y and x; empty: as they are, or the cutter's own.
    settings
        ``key=value`` of the source or of the cutter, whichever has the key.
    seed, strict
        As in `lesionforge.data.cohort.CohortPlan`.
    """

    format_: str = AUTO
    select: tuple[str, ...] = ()
    label: str = ""
    cut: str = DEFAULT_CUT
    size: tuple[int, ...] = ()
    settings: tuple[str, ...] = ()
    seed: int = 0
    strict: bool = False


def ingest(
    path: Path, out: Path, request: Request = Request(), *, workers: int = 0, progress: Progress = SILENT
) -> Path:
    """Read what lies at ``path`` into the folder of patches ``out``.

    Parameters
    ----------
    workers
        Processes; 0: one for each core.

    Raises
    ------
    LesionForgeError
        Nothing is recognised, settings or rules do not fit, or nothing is left.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    refuse_existing(out)
    source, about = source_at(path, request.format_, progress=progress)
    if isinstance(source, PatchSource):
        source = with_overrides(source, request.settings)
        patches, skipped = source.read(path, progress=progress)
        patches, record = _selected(patches, request, progress)
        record["skipped"] = [asdict(skip) for skip in skipped]
        if request.size:
            patches = patches.centre_crop(request.size * len(patches.axes) if len(request.size) == 1 else request.size)
        return patches_file.save(patches, out, beside={RECORD: {"found": about, **record}})
    assert isinstance(source, ScanSource)
    cutter: Cutter = registry.class_named(cutting, request.cut, Cutter)()  # type: ignore[type-abstract]
    size = [f"size={','.join(map(str, request.size))}"] if request.size else []
    source, cutter = _with_settings((source, cutter), [*size, *request.settings])
    found = source.find(path, progress=progress)
    plan = CohortPlan(cutter, request.select or source.usual, request.label, request.seed, request.strict)
    count = workers or os.cpu_count() or 1
    return ingest_cohort(found, plan, out, about=about, workers=count, progress=progress)


def _with_settings(parts: tuple[Source, Cutter], settings: Sequence[str]) -> tuple[Any, Any]:
    """Give each ``key=value`` to the part that has the key."""
    fields = [{field.name for field in dataclasses.fields(part)} for part in parts]  # type: ignore[arg-type]
    keys = [setting.partition("=")[0].strip().partition(".")[0] for setting in settings]
    if unknown := [key for key in keys if key not in set().union(*fields)]:
        names = " and ".join(registry.name_of(part) for part in parts)
        raise LesionForgeError(f"{names} have no setting {unknown[0]!r}{nearest(unknown[0], set().union(*fields))}")
    first, second = (
        with_overrides(part, [setting for setting, key in zip(settings, keys, strict=True) if key in known])
        for part, known in zip(parts, fields, strict=True)
    )
    return first, second


def _selected(patches: Patches, request: Request, progress: Progress) -> tuple[Patches, dict[str, Any]]:
    """Apply the rules to patches that are cut already."""
    if not request.select and not request.label:
        return patches, {}
    rows, flow = selection.select(
        patches.table.assign(row=np.arange(len(patches))), request.select, label=request.label
    )
    progress.say("\n  ".join([f"{len(patches)} patches", *map(str, flow)]))
    kept = patches.rows(rows["row"].to_numpy()).with_columns(label=rows["label"].to_numpy())
    return kept, {"flow": [asdict(step) for step in flow]}
