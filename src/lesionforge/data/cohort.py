"""A cohort becomes patches, scan by scan: it may be larger than memory, and take days.

Three stages: *survey* reads what is known of every scan but its voxels; *select* applies the rules to all lesions
together and counts what each leaves; *cut* opens the scans that are left, one at a time in each process. What is done
lies in a hidden folder beside the one to be made, and a killed run goes on there.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from lesionforge import settings
from lesionforge.data import patches_file
from lesionforge.data.cutter import Cut, Cutter
from lesionforge.data.growing_array import GrowingArray
from lesionforge.data.patches import Patches, joined_generators
from lesionforge.data.scan import Annotations, Scan
from lesionforge.data.selection import Step, select
from lesionforge.data.source import Case, Found, Skip, counted
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError
from lesionforge.progress import SILENT, Progress
from lesionforge.registry import name_of
from lesionforge.storage import digest, read_json, refuse_existing, storage_errors, write_json
from lesionforge.workers import Workers, side_by_side

RECORD = "ingest.json"
VERSION = 2  # of what is kept of each case
SURVEYED, CUT, SKIPPED = "survey.json", "cut", "skipped.json"
UNMARKED = "unmarked.json"  # beside a case's patches

Maker = Callable[..., "_CutCase | list[dict[str, Any]]"]  # of a case's result: its cuts, or its survey's rows


@dataclass(frozen=True)
class CohortPlan:
    """How a cohort becomes patches.

    Parameters
    ----------
    cutter
        What cuts the patches.
    select, label
        As in `lesionforge.data.selection.select`.
    seed
        Of what a cutter draws at random. Each scan has its own, so its patches do not depend on the others.
    strict
        Let a scan that cannot be used end the work; else it is left out and counted.
    """

    cutter: Cutter
    select: tuple[str, ...] = ()
    label: str = ""
    seed: int = 0
    strict: bool = False

    def to_json(self) -> dict[str, Any]:
        """As JSON, the cutter with its name."""
        described: dict[str, Any] = settings.to_json(self)
        return described | {"cutter": {"name": name_of(self.cutter), **described["cutter"]}}


def ingest(
    found: Found, plan: CohortPlan, out: Path, *, about: str = "", workers: int = 1, progress: Progress = SILENT
) -> Path:
    """Cut patches of the selected lesions of a cohort into the folder ``out``.

    The folder's ``ingest.json`` says what was found, what each rule left, and what was skipped and why.

    Parameters
    ----------
    about
        What was found, in words.
    workers
        Processes.

    Raises
    ------
    LesionForgeError
        Nothing is left, a rule cannot be followed, scans differ in unit, or (``strict``) a scan cannot be used.
    StorageError
        ``out`` exists, or another process makes it.
    """
    refuse_existing(out)
    with _workplace(out, found, plan) as place, side_by_side(workers, begin=_one_thread) as processes:
        work = _Work(place, plan, processes, progress)
        rows = work.survey(found.cases)
        _refuse_nothing(rows, [*found.skipped, *work.skipped(found.cases)])
        chosen, flow = select(rows, plan.select, label=plan.label)
        progress.say("\n  ".join([f"{len(found.cases)} scans", *map(str, flow)]))
        names = set(chosen["case"])
        left = [case for case in found.cases if case.name in names]
        work.cut(left, chosen)
        skipped = [*found.skipped, *work.skipped(found.cases)]
        for reason, count in counted(skipped).items():
            progress.say(f"skipped {count}: {reason}")
        made = [folder for case in left if (folder := work.folder(case) / CUT).exists()]
        if not made:
            raise LesionForgeError(f"a patch must be cut from one scan at least, but none was{_why(skipped)}.")
        patches = _joined(made, place)
        unmarked = sum(read_json(folder / UNMARKED, of="a case's patches")["patches"] for folder in made)
        if 0 < unmarked < len(patches):
            progress.say(
                f"masks are left out: {unmarked} of {len(patches)} patches are of lesions without an outline; with "
                "--select, choose those that have one if masks are needed"
            )
        record = _record(about, found, plan, flow, skipped) | {"patches_without_outline": unmarked}
        return patches_file.save(patches, out, beside={RECORD: record})


@contextmanager
def _workplace(out: Path, found: Found, plan: CohortPlan) -> Iterator[Path]:
    """Yield the hidden folder of what is done for ``out``; what other work left there is cleared away."""
    place = out.parent / f".{out.name}.ingest"
    told = {"plan": plan.to_json(), "cases": [case.name for case in found.cases], "version": VERSION}
    begun = {"begun": digest(told)}
    place.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(place / ".lock", timeout=0):
            state = place / "begun.json"
            if not state.is_file() or read_json(state, of="a begun ingestion") != begun:
                shutil.rmtree(place / "cases", ignore_errors=True)
                write_json(state, begun)
            yield place
            shutil.rmtree(place)
    except Timeout:
        raise StorageError(f"another process is making {out}: wait for it, or stop it.") from None


@dataclass(frozen=True)
class _Work:
    """What is done case by case, each in a folder of its own."""

    place: Path
    plan: CohortPlan
    workers: Workers
    progress: Progress

    def folder(self, case: Case) -> Path:
        """Where the results of a case are, or will be."""
        return self.place / "cases" / digest(case.name)

    def survey(self, cases: Sequence[Case]) -> pd.DataFrame:
        """Read the annotations of every case: a row for each lesion."""
        self._do(_survey, cases, SURVEYED, doing="reading annotations")
        files = [self.folder(case) / SURVEYED for case in cases]
        rows = [row for file in files if file.exists() for row in read_json(file, of="a survey")["rows"]]
        table = pd.DataFrame(rows)
        unknown = [name for name in table if table[name].isna().all()]
        return table.astype(dict.fromkeys(unknown, np.float64))

    def cut(self, cases: Sequence[Case], chosen: pd.DataFrame) -> None:
        """Cut the patches of the chosen lesions of these cases."""
        labels = {
            str(name): dict(zip(rows["lesion"], rows["label"], strict=True)) for name, rows in chosen.groupby("case")
        }
        self._do(_cut, cases, CUT, [labels[case.name] for case in cases], doing="cutting patches")

    def skipped(self, cases: Sequence[Case]) -> list[Skip]:
        """Return those that could not be used."""
        files = [self.folder(case) / SKIPPED for case in cases]
        return [Skip(**read_json(file, of="a skip")) for file in files if file.exists()]

    def _do(
        self,
        make: Maker,
        cases: Sequence[Case],
        result: str,
        *arguments: Any,
        doing: str,
    ) -> None:
        """Have every case done that has neither its result nor been skipped."""
        todo = [
            partial(_skipping, make, case, *more, folder=self.folder(case), plan=self.plan)
            for case, *more in zip(cases, *arguments, strict=True)
            if not (self.folder(case) / result).exists() and not (self.folder(case) / SKIPPED).exists()
        ]
        with self.progress.work(doing, len(cases), unit="scans", done=len(cases) - len(todo)) as advance:
            one_done = partial(advance, 1)
            self.workers.do(todo, progress=SILENT, after_each=one_done)


def _one_thread() -> None:
    """Filters of one scan gain less from threads than scans do from processes."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _skipping(
    make: Maker,
    case: Case,
    *arguments: Any,
    folder: Path,
    plan: CohortPlan,
    progress: Progress,
) -> None:
    """Make a case's result and keep it; where the case is at fault, keep why instead."""
    del progress  # one bar for all scans, not one for each
    try:
        result = make(case, *arguments, plan=plan)
    except LesionForgeError as error:
        if plan.strict:
            raise
        unfit = error if isinstance(error, UnfitDataError) else UnfitDataError("not what it should be", str(error))
        write_json(folder / SKIPPED, asdict(Skip.because(case.name, unfit)))
        return
    if isinstance(result, _CutCase):
        patches_file.save(result.patches, folder / CUT, beside={UNMARKED: {"patches": result.unmarked}})
    else:
        write_json(folder / SURVEYED, {"rows": result})


def _survey(case: Case, *, plan: CohortPlan) -> list[dict[str, Any]]:
    del plan
    annotations = case.annotations()
    rows = [{"case": case.name, **annotations.row(lesion)} for lesion in annotations.lesions]
    return [{name: _plain(value) for name, value in row.items()} for row in rows]


def _plain(value: Any) -> Any:
    """Turn a value into what JSON can hold: no NumPy types, and no NaN."""
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and np.isnan(value) else value


@dataclass(frozen=True)
class _CutCase:
    patches: Patches
    unmarked: int  # of lesions without an outline, so that the set has no masks


def _cut(case: Case, labels: Mapping[str, str], *, plan: CohortPlan) -> _CutCase:
    annotations = case.annotations()
    lesions = [replace(each, label=labels[each.name]) for each in annotations.lesions if each.name in labels]
    scan = case.scan()
    rng = np.random.default_rng([plan.seed, int(digest(case.name), 16)])
    cuts = list(plan.cutter.cut(scan, lesions, marks=annotations.lesions, rng=rng))
    if not cuts:
        raise UnfitDataError("no patch can be cut", f"no patch of {plan.cutter} can be cut from this scan.")
    return _CutCase(_patches(cuts, scan, annotations), sum(cut.mask is None for cut in cuts))


def _patches(cuts: Sequence[Cut], scan: Scan, annotations: Annotations) -> Patches:
    rows = pd.DataFrame([_row(cut, annotations) for cut in cuts])
    columns: dict[str, Any] = {str(name): rows[name].to_numpy() for name in rows}
    masks = [cut.mask for cut in cuts if cut.mask is not None]
    patches = Patches.of(
        np.stack([cut.image for cut in cuts]),
        masks=np.stack(masks).astype(np.uint8) if len(masks) == len(cuts) else None,
        spacing_mm=np.array([cut.spacing_mm for cut in cuts]),
        unit=scan.unit,
        **columns,
    )
    return patches if scan.synthetic is None else scan.synthetic.mark(patches)


def _row(cut: Cut, annotations: Annotations) -> dict[str, Any]:
    if cut.lesion is None:
        known = {"patient": annotations.patient, "scan": annotations.scan, "lesion": "", **annotations.facts}
    else:
        known = annotations.row(cut.lesion)
    position = {f"position_{axis}_mm": value for axis, value in zip("xyz", cut.position_mm, strict=True)}
    return known | position | dict(cut.columns)


def _joined(folders: Sequence[Path], place: Path) -> Patches:
    """Join the patches of all cases without holding their pixels in memory."""
    sets = [patches_file.load(folder) for folder in folders]
    if len(units := sorted({each.unit for each in sets})) > 1:
        raise LesionForgeError(f"all scans must have one unit, but {' and '.join(units)} came: ingest them apart.")
    images = _written([each.images for each in sets], place / "images.npy")
    marked = [each.masks for each in sets if each.masks is not None]
    masks = _written(marked, place / "masks.npy") if len(marked) == len(sets) else None
    table = pd.concat([each.table for each in sets], ignore_index=True)
    return Patches(images, table, masks=masks, unit=units[0], generators=joined_generators(sets))


def _written(arrays: Sequence[NDArray[Any]], file: Path) -> NDArray[Any]:
    """Write arrays one after another to a file, and open it as one array."""
    dtype = np.result_type(*{array.dtype for array in arrays})
    with storage_errors(file), GrowingArray(file, dtype, arrays[0].shape[1:]) as grown:
        for array in arrays:
            grown.add(array)
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))


def _record(
    about: str, found: Found, plan: CohortPlan, flow: Sequence[Step], skipped: Sequence[Skip]
) -> dict[str, object]:
    return {
        "found": about,
        "scans": len(found.cases),
        "plan": plan.to_json(),
        "flow": [asdict(step) for step in flow],
        "skipped": [asdict(skip) for skip in skipped],
    }


def _refuse_nothing(rows: pd.DataFrame, skipped: Sequence[Skip]) -> None:
    if len(rows):
        return
    raise LesionForgeError(
        f"a cohort must have a marked lesion at least, but none was found{_why(skipped)}: say where they are, in "
        "masks, segmentations or a table of points."
    )


def _why(skipped: Sequence[Skip]) -> str:
    reasons = "; ".join(f"{count} {reason}" for reason, count in counted(skipped).items())
    return f" (skipped: {reasons}; --strict ends with the first scan's whole message)" if reasons else ""
