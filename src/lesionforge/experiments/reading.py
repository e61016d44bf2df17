"""Patches laid out for readers: so many real and so many synthetic lesions, as a paper showed them.

`lesionforge reader-study create RUN/reading/real RUN/reading/synthetic` makes a study of them. Real ones are of the
first fold's test patients, whom no generator of that fold has met, under digests instead of names.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from lesionforge.data import patches_file
from lesionforge.data.exposure import patient_digest
from lesionforge.data.patches import Patches
from lesionforge.experiments.assessing import sample_tasks, sampled
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.fold_work import working
from lesionforge.experiments.ingredients import Generation, Reading
from lesionforge.settings import to_json
from lesionforge.storage import new_folder
from lesionforge.tasks.graph import Bench, Task, key_of
from lesionforge.tasks.store import linked_copy

STAGE, SETS = "reading", ("real", "synthetic")


def reading_tasks(fold: Fold) -> Iterator[Task]:
    """Lay the patches out, in the first fold alone."""
    reading = fold.experiment.reading
    if reading is None or not fold.is_first:
        return
    part = fold.making(_generation(fold, reading))
    needs = sample_tasks(part, _generation(fold, reading), _counts(part, reading)[1])
    yield from needs
    yield Task(
        name=f"{fold.name}-reading",
        stage=STAGE,
        key=key_of(
            does="lay patches out for readers",
            reading=to_json(reading),
            needs=[task.key for task in needs],
            test=part.test.digest,
            seed=part.seed("reading"),
        ),
        call=working(part, partial(_lay_out, reading=reading)),
        needs=tuple(task.name for task in needs),
    )


def deliver_reading(fold: Fold, out: Path) -> None:
    """Put the patches where people find them: ``reading/real`` and ``reading/synthetic``."""
    for task in reading_tasks(fold):
        if task.stage == STAGE and task.name in fold.results:
            for name in SETS:
                with new_folder(out / "reading" / name, overwrite=True) as folder:
                    linked_copy(fold.results[task.name] / name, folder)


def _generation(fold: Fold, reading: Reading) -> Generation:
    (found,) = (each for each in fold.experiment.generators if each.name == reading.generator)
    return found


def _candidates(part: Fold, reading: Reading) -> Patches:
    classes = reading.classes or part.classes_of(_generation(part, reading))
    return part.test.rows(np.flatnonzero(np.isin(part.test.labels, classes)))


def _counts(part: Fold, reading: Reading) -> tuple[int, int]:
    """Real and synthetic ones: as many as asked, or fewer in the same proportion."""
    real = min(reading.real, len(_candidates(part, reading)))
    return real, max(1, round(reading.synthetic * real / reading.real))


def _lay_out(part: Fold, bench: Bench, *, reading: Reading) -> None:
    real, synthetic = _counts(part, reading)
    candidates = _candidates(part, reading)
    chosen = np.random.default_rng(part.seed("reading")).permutation(len(candidates))[:real]
    shown = candidates.rows(np.sort(chosen))
    anonymous = Patches.of(
        shown.images,
        patient=[patient_digest(patient) for patient in shown.patients],
        label=shown.labels.tolist(),
        spacing_mm=shown.spacing_mm,
        diameter_mm=shown.table["diameter_mm"].to_numpy(),
        unit=shown.unit,
    )
    patches_file.save(anonymous, bench.folder / SETS[0])
    patches_file.save(sampled(part, _generation(part, reading), synthetic), bench.folder / SETS[1])
