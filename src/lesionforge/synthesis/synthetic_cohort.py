"""A cohort of synthetic lesions: so many of one class, of drawn diameters, over all the scans that there are.

Host by host: one scan is in memory at a time, and each host's folder is whole or not there. A killed run goes on where
it was and comes to the same bytes, since all that is drawn for a host follows from the seed and the host's name.

The folder holds ``hosts/``, a folder as of `inserted_files` for each, named by digests; and, when all is done,
``synthetic_lesions.csv`` with a row for each lesion, where it lies and from what it was made, ``synthetic_patches/``
with all of them, and ``skipped.json``: hosts that could not be used, and why.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from lesionforge import __version__, settings
from lesionforge.data import patches_file
from lesionforge.data.lungs import lungs
from lesionforge.data.patches import concatenate
from lesionforge.data.source import Case, Skip
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError
from lesionforge.networks import derived_seed
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import digest, new_file, read_json, write_json
from lesionforge.synthesis.blending import Blending
from lesionforge.synthesis.diameters import Diameters
from lesionforge.synthesis.hosts import open_host
from lesionforge.synthesis.inserted_files import PATCHES, RECORD, Kind, kind_for, write_inserted
from lesionforge.synthesis.insertion import check_sizes, insert
from lesionforge.synthesis.painter import Painter
from lesionforge.synthesis.sites import SiteRules, find_sites

BEGUN, HOSTS, TABLE, SKIPPED = "synthetic_cohort.json", "hosts", "synthetic_lesions.csv", "skipped.json"


@dataclass(frozen=True)
class SyntheticCohort:
    """What is to be made.

    Parameters
    ----------
    lesions
        In all; dealt out to the hosts by turns, in an order that the seed decides.
    diameters
        What their diameters are drawn from.
    label
        Class of all.
    kind
        As of `write_inserted`.
    """

    lesions: int
    diameters: Diameters
    label: str | None = None
    rules: SiteRules = field(default_factory=SiteRules)
    blending: Blending = field(default_factory=Blending)
    kind: Kind = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.lesions < 1:
            raise LesionForgeError(f"a cohort must have a lesion or more, but {self.lesions} were asked for.")

    def shares(self, hosts: Sequence[str]) -> dict[str, tuple[float, ...]]:
        """Deal out the lesions: diameters of each host that gets any, in the order of ``hosts``."""
        rng = np.random.default_rng([self.seed, self.lesions])
        drawn = self.diameters.draw(self.lesions, rng).round(1).tolist()
        turns = rng.permutation(sorted(hosts)).tolist()
        dealt = {turns[k]: tuple(drawn[k :: len(turns)]) for k in range(min(len(turns), self.lesions))}
        return {name: dealt[name] for name in hosts if name in dealt}


def make_cohort(
    cases: Sequence[Case], painter: Painter, plan: SyntheticCohort, out: Path, *, progress: Progress = SILENT
) -> pd.DataFrame:
    """Insert the lesions of a cohort into the scans of ``cases``; return the table that is written.

    A host in which there is no room, no lung or nothing to be read is skipped with its lesions, and that is written.

    Raises
    ------
    LesionForgeError
        No host could be used, or the painter has no such class.
    StorageError
        ``out`` holds something else, or another process makes it; or the disk refuses.
    """
    painter.checked_label(plan.label)
    shares = plan.shares([case.name for case in cases])
    _claim(out, {"painter": painter.id, "plan": _described(plan), "hosts": digest(sorted(shares))})
    try:
        with FileLock(out / ".lock", timeout=0):
            chosen = [case for case in cases if case.name in shares]
            skipped: list[Skip] = []
            with progress.work("inserting", len(chosen), unit="scans") as advance:
                for case in chosen:
                    skipped += _host(case, shares[case.name], painter, plan, out / HOSTS / _folder_name(case))
                    advance(1)
            return _finished(out, [out / HOSTS / _folder_name(case) for case in chosen], skipped)
    except Timeout:
        raise StorageError(f"another process is making {out}: wait for it, or stop it.") from None


def _described(plan: SyntheticCohort) -> dict[str, Any]:
    described: dict[str, Any] = settings.to_json(plan)
    return described | {"diameters": {"kind": type(plan.diameters).__name__, **described["diameters"]}}


def _claim(out: Path, begun: dict[str, Any]) -> None:
    """Note what is made; refuse a folder with another cohort, or with anything else."""
    begun = begun | {"lesionforge": __version__}
    if (out / BEGUN).exists():
        if read_json(out / BEGUN, of="a synthetic cohort") != begun:
            raise StorageError(f"{out} holds another synthetic cohort: choose another folder, or the same settings.")
        return
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(f"{out} must be new or empty, but holds something else: choose another folder.")
    write_json(out / BEGUN, begun)


def _folder_name(case: Case) -> str:
    return f"host-{digest(case.name)}"


def _host(
    case: Case, diameters_mm: Sequence[float], painter: Painter, plan: SyntheticCohort, folder: Path
) -> list[Skip]:
    """Make one host's folder if it is not there; return why it could not be made."""
    if (folder / RECORD).exists():
        return []
    try:
        host = open_host(case)
        seed = derived_seed(plan.seed, case.name) % 2**32
        check_sizes(host.scan, diameters_mm, painter, blending=plan.blending)
        sites = find_sites(host.scan, lungs(host.scan), diameters_mm, rules=plan.rules, known=host.known, seed=seed)
        inserted = insert(host.scan, sites, painter, label=plan.label, seed=seed, blending=plan.blending)
        kind_for(host, plan.kind)
    except StorageError:
        raise
    except LesionForgeError as error:
        unfit = error if isinstance(error, UnfitDataError) else UnfitDataError("no room, or unfit", str(error))
        return [Skip.because(digest(case.name), unfit)]
    write_inserted(host, inserted, painter, folder, seed=seed, blending=plan.blending, kind=plan.kind)
    return []


def _finished(out: Path, folders: Sequence[Path], skipped: Sequence[Skip]) -> pd.DataFrame:
    """Write the table and what was skipped, and join the patches."""
    made = [folder for folder in folders if (folder / RECORD).exists()]
    write_json(out / SKIPPED, {"skipped": [asdict(skip) for skip in skipped]})
    if not made:
        raise LesionForgeError(
            f"a lesion must be put into one scan at least, but into none it could: {skipped[0].message}"
        )
    rows = []
    for folder in made:
        record = read_json(folder / RECORD, of="a scan with inserted lesions")
        shared = {
            "folder": folder.name,
            "host_patient": record["host_patient"],
            "painter": record["request"]["painter"],
        }
        rows += [shared | _row(lesion) for lesion in record["lesions"]]
    table = pd.DataFrame(rows)
    with new_file(out / TABLE) as partial:
        table.to_csv(partial, index=False, lineterminator="\n")
    if not (out / PATCHES).exists():
        parts = [patches_file.load(folder / PATCHES) for folder in made]
        patches_file.save(concatenate(parts), out / PATCHES)
    return table


def _row(lesion: dict[str, Any]) -> dict[str, Any]:
    position = dict(zip(("x", "y", "z"), lesion["position_mm"], strict=True))
    plain = {name: value for name, value in lesion.items() if not isinstance(value, list)}
    return plain | {f"position_{axis}_mm": value for axis, value in position.items()}
