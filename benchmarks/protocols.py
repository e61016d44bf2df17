"""The papers' protocols on real CT: `docs/results.md` has what these commands gave.

    python benchmarks/protocols.py calm --data DATA --out runs/calm
    python benchmarks/protocols.py wang2020 --data DATA --out runs/wang2020

DATA holds the folders of the 2-D benchmark and the cubes. The classes of the papers are not in them, so others stand
for them; `STANDING` says which. A killed run goes on with the same command.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from lidc_cubes51 import MALIGNANCY_OF_ALL, cubes
from lidc_maxslice import GROUND_GLASS, NON_SOLID
from luna16_candidates import CANDIDATES

from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.experiments.engine import run
from lesionforge.experiments.protocol import check_patients, protocol_named
from lesionforge.experiments.provenance import Source
from lesionforge.progress import SILENT, TerminalProgress
from lesionforge.report.assessed import read_assessed
from lesionforge.report.page import write_report
from lesionforge.report.paper_tables import paper_tables, shown_rows
from lesionforge.report.recommendation import recommendation
from lesionforge.report.run_folder import FinishedRun
from lesionforge.settings import with_overrides
from lesionforge.tasks.running import Running

SEED = 0


def candidates(data: Path) -> Patches:
    """Nodules and as many other candidates, 50×50: beyond the crop there is tissue for translations."""
    every = load_arrays(data / "luna16_candidates", mapping=CANDIDATES)
    nodules, others = (np.flatnonzero(every.labels == label) for label in ("nodule", "other"))
    chosen = np.random.default_rng(SEED).choice(others, len(nodules), replace=False)
    return every.rows(np.sort(np.concatenate([nodules, chosen])))


def textures(data: Path) -> Patches:
    """Nodules by the mean of two or more readers' texture: ground-glass, part-solid, solid."""
    labels = {
        "ground-glass": "n_raters >= 2 and texture_mean < 2.5",
        "part-solid": "n_raters >= 2 and 2.5 <= texture_mean <= 4",
        "solid": "n_raters >= 2 and texture_mean > 4",
    }
    return load_arrays(data / "lidc_maxslice", mapping=replace(NON_SOLID, labels=labels))


def ground_glass(data: Path) -> Patches:
    """Texture 1 or 2 from at least two readers, and the others that two have rated."""
    return load_arrays(data / "lidc_maxslice", mapping=GROUND_GLASS)


def malignancy(data: Path) -> Patches:
    """One reader's malignancy of 4 or more against less, 24×51×51 voxels of 2×1×1 mm."""
    whole = cubes(data / "lidc_cubes51", labels=MALIGNANCY_OF_ALL, spacing_mm=(2.0, 1.0, 1.0))
    return whole.centre_crop((24, *whole.shape[1:]))


READ: Mapping[str, Callable[[Path], Patches]] = {
    "calm": candidates,
    "wang2020": textures,
    "wang2022": ground_glass,
    "yang2019": malignancy,
}
LABELS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "calm": {"nodule": ["nodule"], "no nodule": ["other"]},
    "wang2020": {"AIS": ["ground-glass"], "MIA": ["part-solid"], "IAC": ["solid"]},
    "wang2022": {"ground-glass": ["ground-glass"], "any other": ["other"]},
    "yang2019": {},
}
STANDING = {
    "calm": "LUNA16 candidates, 8 bits, as many that are none as nodules; blocks of neighbours stand for patients",
    "wang2020": "LIDC-IDRI, one slice a nodule: ground-glass stands for AIS, part-solid for MIA, solid for IAC",
    "wang2022": "LIDC-IDRI, one slice a nodule: texture 1 or 2 from two readers against all others",
    "yang2019": "LIDC-IDRI, 101 cubes: one reader's malignancy of 4 or more against less",
}


def markdown(run: Path) -> Iterator[str]:
    """Verdicts and the paper's tables, ours beside published, as `docs/results.md` has them."""
    finished = FinishedRun.read(run)
    for row in finished.tables["comparisons"].itertuples():
        yield f"- {row.regime} against {row.against}: {row.sentence}."
    for sentence in recommendation(finished.config, finished.tables):
        yield f"- *What follows:* {sentence}"
    for paper in paper_tables(finished, read_assessed(run)):
        yield f"\n{paper.title}\n\n| row | score | published | ours | 95 % interval | |\n|---|---|---:|---:|---|---|"
        yield from (f"| {' | '.join(row.values())} |" for row in shown_rows(paper.table))
    for each in read_assessed(run).values():
        yield f"\n*{each.generator}, {each.kind}:* {each.refused or ' '.join(each.sentences)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("protocol", choices=READ)
    parser.add_argument("--data", type=Path, required=True, help="folder that holds the data folders")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; a run begun there is continued")
    parser.add_argument("--scale", default="desk")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    protocol = protocol_named(asked.protocol)
    patches = protocol.labelled(READ[asked.protocol](asked.data), LABELS[asked.protocol])
    described = with_overrides(protocol.experiment(asked.scale, unit=patches.unit), asked.overrides)
    check_patients(described, patches)
    command = f"python benchmarks/protocols.py {asked.protocol} --scale {asked.scale}"
    source = Source(STANDING[asked.protocol], command=command)
    progress = SILENT if asked.quiet else TerminalProgress()
    run(described, patches, asked.out, source=source, how=Running(asked.workers), progress=progress)
    page = write_report(asked.out)
    print("\n".join(markdown(asked.out)))
    print(page)


if __name__ == "__main__":
    main()
