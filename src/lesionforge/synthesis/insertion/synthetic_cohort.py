"""A cohort of synthetic lesions: so many of one class, of drawn diameters, over all the scans that there are.

Host by host: one scan is in memory at a time, and each host's folder is whole or not there. A host takes its equal
share of the lesions that are left; those for which it has no room go back to the end of the row, to the hosts after
it. When all have had their turn and lesions are left, those that took some get another turn, and a folder of their
own for it. A killed run goes on where it was and comes to the same bytes, since all that is drawn for a host follows
from the seed and the host's name, and what it is asked for from the hosts before it.

The folder holds ``hosts/``, a folder as of `files` for each, named by digests; and, when all is done,
``synthetic_lesions.csv`` with a row for each lesion, where it lies and from what it was made, ``synthetic_patches/``
with all of them, and ``skipped.json``: hosts that could not be used, and why, and how many lesions nobody had room for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout

from lesionforge import __version__, settings
from lesionforge.data import patches_file
from lesionforge.data.patches import concatenate
from lesionforge.data.source import Case, Skip
from lesionforge.data.synthetic_scans import RECORD
from lesionforge.errors import LesionForgeError, StorageError, UnfitDataError
from lesionforge.networks import derived_seed
from lesionforge.progress import SILENT, Progress
from lesionforge.storage import digest, new_file, read_json, write_json
from lesionforge.synthesis.insertion.diameters import Diameters
from lesionforge.synthesis.insertion.files import PATCHES, Kind, kind_for, write_inserted
from lesionforge.synthesis.insertion.hosts import open_host
from lesionforge.synthesis.insertion.into_scans import check_sizes, insert
from lesionforge.synthesis.insertion.manner import Manner
from lesionforge.synthesis.insertion.placing import placed
from lesionforge.synthesis.insertion.sites import SiteRules

BEGUN, HOSTS, TABLE, SKIPPED = "synthetic_cohort.json", "hosts", "synthetic_lesions.csv", "skipped.json"


@dataclass(frozen=True)
class SyntheticCohort:
    """What is to be made.

    Parameters
    ----------
    lesions
        In all.
    diameters
        What their diameters are drawn from.
    kind
        As of `write_inserted`.
    """

    lesions: int
    diameters: Diameters
    rules: SiteRules = field(default_factory=SiteRules)
    kind: Kind = "auto"

    def __post_init__(self) -> None:
        if self.lesions < 1:
            raise LesionForgeError(f"a cohort must have a lesion or more, but {self.lesions} were asked for.")

    def to_json(self) -> dict[str, Any]:
        """As JSON, the distribution with its name."""
        described: dict[str, Any] = settings.to_json(self)
        return described | {"diameters": {"kind": type(self.diameters).__name__, **described["diameters"]}}


def make_cohort(
    cases: Sequence[Case], manner: Manner, plan: SyntheticCohort, out: Path, *, progress: Progress = SILENT
) -> pd.DataFrame:
    """Insert the lesions of a cohort into the scans of ``cases``; return the table that is written.

    A host in which nothing can be read, or without lungs or room, is skipped, and that is written.

    Raises
    ------
    LesionForgeError
        No host could be used.
    StorageError
        ``out`` holds something else, or another process makes it; or the disk refuses.
    """
    names = digest(sorted(case.name for case in cases))
    _claim(out, {"manner": manner.to_json(), "plan": plan.to_json(), "hosts": names})
    try:
        with FileLock(out / ".lock", timeout=0):
            dealing = _Dealing(manner, plan, out / HOSTS, progress)
            dealing.deal(cases)
            return dealing.finished(out)
    except Timeout:
        raise StorageError(f"another process is making {out}: wait for it, or stop it.") from None


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


class _Dealing:
    """Lesions on their way to hosts."""

    def __init__(self, manner: Manner, plan: SyntheticCohort, folder: Path, progress: Progress) -> None:
        self._manner, self._plan, self._folder, self._progress = manner, plan, folder, progress
        self._rng = np.random.default_rng([manner.seed, plan.lesions])
        self._row: list[float] = plan.diameters.draw(plan.lesions, self._rng).round(1).tolist()
        self._made: list[Path] = []
        self._skipped: list[Skip] = []

    def deal(self, cases: Sequence[Case]) -> None:
        """Let the hosts have turn after turn, in an order that the seed decides, until nothing is left or fits."""
        by_name = {case.name: case for case in cases}
        hosts = [by_name[name] for name in self._rng.permutation(sorted(by_name)).tolist()]
        turn = 1
        with self._progress.work("inserting", len(self._row), unit="lesions") as advance:
            while self._row and hosts:
                took: list[Case] = []
                for place, case in enumerate(hosts):
                    before = len(self._row)
                    self._host(case, -(-before // (len(hosts) - place)), turn)
                    if len(self._row) < before:
                        took.append(case)
                        advance(before - len(self._row))
                hosts, turn = took, turn + 1

    def _host(self, case: Case, count: int, turn: int) -> None:
        """Give a host the first lesions of the row; those that it has no room for go to its end."""
        asked, self._row = self._row[:count], self._row[count:]
        if not asked:
            return
        folder = self._folder / f"host-{digest(case.name)}{f'-{turn}' if turn > 1 else ''}"
        skipped = self._folder / f"{folder.name}.skipped.json"
        if not (folder / RECORD).exists() and not skipped.exists():
            try:
                self._make(case, asked, folder, turn)
            except StorageError:
                raise
            except LesionForgeError as error:
                unfit = error if isinstance(error, UnfitDataError) else UnfitDataError("no room, or unfit", str(error))
                write_json(skipped, asdict(Skip.because(digest(case.name), unfit)))
        left = list(asked)
        if (folder / RECORD).exists():
            self._made.append(folder)
            for lesion in _lesions(folder):
                left.remove(lesion["asked_diameter_mm"])
        elif turn == 1:
            self._skipped.append(Skip(**read_json(skipped, of="a skip")))
        self._row += left

    def _make(self, case: Case, asked: Sequence[float], folder: Path, turn: int) -> None:
        seed = derived_seed(self._manner.seed, case.name, *([turn] if turn > 1 else [])) % 2**32
        host, manner = open_host(case), replace(self._manner, seed=seed)
        kind_for(host, self._plan.kind)
        check_sizes(host.scan, asked, manner)
        sites, manner = placed(host, asked, manner, self._plan.rules)
        inserted = insert(host.scan, sites, manner)
        write_inserted(host, inserted, manner, folder, kind=self._plan.kind)

    def finished(self, out: Path) -> pd.DataFrame:
        """Write the table and what was skipped, and join the patches."""
        skipped = {"skipped": [asdict(skip) for skip in self._skipped], "lesions_without_room": len(self._row)}
        write_json(out / SKIPPED, skipped)
        if not self._made:
            raise LesionForgeError(
                "a lesion must be put into one scan at least, but into none it could: "
                f"{self._skipped[0].message if self._skipped else 'there is no host'}"
            )
        rows = [row for folder in self._made for row in _rows(folder)]
        table = pd.DataFrame(rows)
        with new_file(out / TABLE) as partial:
            table.to_csv(partial, index=False, lineterminator="\n")
        if not (out / PATCHES).exists():
            parts = [patches_file.load(folder / PATCHES) for folder in self._made]
            patches_file.save(concatenate(parts), out / PATCHES)
        return table


def _lesions(folder: Path) -> list[dict[str, Any]]:
    lesions: list[dict[str, Any]] = read_json(folder / RECORD, of="a scan with inserted lesions")["lesions"]
    return lesions


def _rows(folder: Path) -> list[dict[str, Any]]:
    record = read_json(folder / RECORD, of="a scan with inserted lesions")
    shared = {"folder": folder.name, "host_patient": record["host_patient"], "painter": record["request"]["painter"]}
    return [shared | _row(lesion) for lesion in record["lesions"]]


def _row(lesion: dict[str, Any]) -> dict[str, Any]:
    position = dict(zip(("x", "y", "z"), lesion["position_mm"], strict=True))
    plain = {name: value for name, value in lesion.items() if not isinstance(value, list)}
    return plain | {f"position_{axis}_mm": value for axis, value in position.items()}
