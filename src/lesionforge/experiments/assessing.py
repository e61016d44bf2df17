"""Tasks that hold what a fold's generators make against its patients: copies, fidelity, radiomics.

Asked of the first fold alone, of every generator that a regime uses: its samples against the test patients, whom it has
not met, and for copies against its training patients too. A question that these patients are too few for, or that needs
an extra that is not there, is answered with why it could not be asked (in `QUESTION`), and the run goes on.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches, concatenate
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.assessments.described import pyradiomics_is_there
from lesionforge.evaluation.assessments.fidelity import assess_fidelity
from lesionforge.evaluation.assessments.memorisation import assess_memorisation
from lesionforge.evaluation.assessments.radiomics import assess_radiomics
from lesionforge.evaluation.assessments.separability import assess_separability
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.fold_work import working
from lesionforge.experiments.generator_tasks import sampling_task
from lesionforge.experiments.ingredients import Generation
from lesionforge.storage import new_folder, safe_name, write_json
from lesionforge.tasks.graph import Bench, Cost, Task, key_of
from lesionforge.tasks.store import linked_copy

STAGE, ASSESSMENT, QUESTION = "assessments", "assessment", "question.json"
ASSESS: Mapping[str, Callable[..., Assessment]] = {
    "memorisation": assess_memorisation,
    "fidelity": assess_fidelity,
    "radiomics": assess_radiomics,
    "separability": assess_separability,
}


def assessing_tasks(fold: Fold) -> Iterator[Task]:
    """Every question about every generator of the first fold, and the samples that it is asked of."""
    if fold.experiment.assessed and fold.is_first:
        for generation in fold.experiment.generators_used:
            part = fold.making(generation)
            yield from sample_tasks(part, generation, fold.experiment.assessed)
            yield from (assessing_task(part, generation, kind) for kind in kinds())


def kinds() -> tuple[str, ...]:
    """What is asked: without pyradiomics, separability by texture stands in for radiomics."""
    return ("memorisation", "fidelity", "radiomics" if pyradiomics_is_there() else "separability")


def assessing_task(part: Fold, generation: Generation, kind: str) -> Task:
    """Ask one question about one generator."""
    needs = sample_tasks(part, generation, part.experiment.assessed)
    return Task(
        name=f"{part.name}-{kind}-{safe_name(generation.name)}",
        stage=STAGE,
        key=key_of(
            does="assess samples",
            kind=kind,
            needs=[task.key for task in needs],
            training=part.train.digest,
            test=part.test.digest,
            window=part.experiment.window,
            seed=part.seed("assessment"),
        ),
        call=working(part, partial(_assess, generation=generation, kind=kind)),
        needs=tuple(task.name for task in needs),
        about={"generator": generation.name},
        cost=Cost(f"asking for {kind}", part.experiment.assessed),
    )


def sample_tasks(part: Fold, generation: Generation, count: int) -> list[Task]:
    """Tasks that sample so many in all, as many of each class."""
    classes = part.classes_of(generation)
    return [sampling_task(part, generation, label, share_of(count, classes)) for label in classes]


def share_of(count: int, classes: tuple[str, ...]) -> int:
    """So many of each class."""
    return max(1, count // len(classes))


def sampled(part: Fold, generation: Generation, count: int) -> Patches:
    """What `sample_tasks` left."""
    classes = part.classes_of(generation)
    return concatenate([part.sampled(generation, label, share_of(count, classes)) for label in classes])


def deliver(fold: Fold, out: Path) -> None:
    """Put the answers where people find them: ``assessments/GENERATOR-KIND``."""
    for task in assessing_tasks(fold):
        if task.stage == STAGE and task.name in fold.results:
            name = task.name.removeprefix(f"{fold.name}-")
            with new_folder(out / "assessments" / name, overwrite=True) as folder:
                linked_copy(fold.results[task.name] / ASSESSMENT, folder)


def _assess(part: Fold, bench: Bench, *, generation: Generation, kind: str) -> None:
    synthetic = sampled(part, generation, part.experiment.assessed)
    real = concatenate([part.train, part.test])
    window = window_named(part.experiment.window, unit=real.unit)
    folder, why = bench.folder / ASSESSMENT, ""
    try:
        sides = Sides.of(real, synthetic, window=window)
        ASSESS[kind](sides, seed=part.seed("assessment"), progress=bench.progress).write(folder)
    except LesionForgeError as error:
        folder.mkdir()
        why = str(error)
    write_json(folder / QUESTION, {"kind": kind, "generator": generation.name, "why": why})
