"""Tasks that make synthetic patches: training a generator on a fold's patients, and sampling from it.

Classic patches are no results: they take seconds to make again, and their rows are of patients, whom no file of a run
names.
"""

from collections.abc import Iterator
from functools import partial

from lesionforge import settings
from lesionforge.data import patches_file
from lesionforge.experiments.described import method_to_json
from lesionforge.experiments.fold import SAMPLES, Fold
from lesionforge.experiments.fold_patches import CHECKPOINT
from lesionforge.experiments.fold_work import working
from lesionforge.experiments.ingredients import Generation, Regime
from lesionforge.experiments.results import write_table
from lesionforge.generators.training_folder import read_curves
from lesionforge.tasks.graph import Bench, Cost, Task, key_of
from lesionforge.tasks.store import linked_copy

CURVES = "training.csv"


def training_tasks(fold: Fold) -> Iterator[Task]:
    """Every generator of a fold and its portions."""
    for generation in fold.experiment.generators_used:
        for portion in fold.experiment.portions_of(generation.name):
            part = fold.of_portion(portion)
            yield from (training_task(part, generation, labels) for labels in part.generated(generation))


def sampling_tasks(fold: Fold) -> Iterator[Task]:
    """Every set of samples that a regime of a fold adds."""
    for regime in fold.experiment.regimes:
        yield from samples_of(fold, regime)


def samples_of(fold: Fold, regime: Regime) -> list[Task]:
    """Tasks of the samples that a regime adds."""
    if not regime.synthetic_per_class:
        return []
    part, generation = fold.of_portion(regime.portion), fold.experiment.generator_of(regime)
    classes = regime.synthetic_classes or fold.patches.classes
    return [sampling_task(part, generation, label, regime.synthetic_per_class) for label in classes]


def training_task(part: Fold, generation: Generation, labels: tuple[str, ...]) -> Task:
    """Train the generator of these classes."""
    experiment, plan = part.experiment, generation.training
    validation = part.validation_of(labels)
    learnt_from = sum(len(part.source_of[label]) for label in labels) + generation.patches * len(labels)
    return Task(
        name=part.generator_name(generation, labels),
        stage="generators",
        key=key_of(
            does="train a generator",
            method=method_to_json(generation.method),
            plan=settings.to_json(plan.with_seed(part.seed("generator", *labels))),
            window=experiment.window,
            size=experiment.size,
            patches=[part.source_of[label].digest for label in labels],
            validation=None if validation is None else validation.digest,
            classic=classic_facts(part, generation.patches, "generator"),
        ),
        call=working(part, partial(_train, generation=generation, labels=labels)),
        about={
            "repeat": part.split.repeat,
            "fold": part.split.fold,
            "generator": generation.name,
            "label": ", ".join(labels),
            "portion": part.portion,
        },
        cost=Cost(f"training {generation.name}", plan.images or generation.method.epochs * learnt_from),
    )


def sampling_task(part: Fold, generation: Generation, label: str, count: int) -> Task:
    """Sample a class, so many times."""
    generator = training_task(part, generation, part.labels_with(generation, label))
    shown = {"patches": part.source_of[label].digest, **classic_facts(part, count, "conditions")}
    return Task(
        name=part.sample_name(generation, label, count),
        stage="samples",
        key=key_of(
            does="sample a generator",
            generator=generator.key,
            label=label,
            count=count,
            seed=part.seed("sample", label),
            shown=shown if generation.method.pictured else {},
        ),
        call=working(part, partial(_sample, generation=generation, label=label, count=count)),
        needs=(generator.name,),
        cost=Cost(f"sampling {generation.name}", count),
    )


def classic_facts(part: Fold, count: int, purpose: str) -> dict[str, object]:
    """All that decides ``count`` classic patches, for a key; nothing if there are none."""
    if not count:
        return {}
    experiment = part.experiment
    seed = part.seed("augment", purpose)
    return {"recipe": experiment.recipe, "size": experiment.size, "count": count, "seed": seed}


def _train(fold: Fold, bench: Bench, *, generation: Generation, labels: tuple[str, ...]) -> None:
    fold.train_generator(generation, labels, bench.unfinished, bench.progress)
    write_table(bench.folder / CURVES, read_curves(bench.unfinished))
    linked_copy(bench.unfinished, bench.folder / CHECKPOINT, leave_out="training*")  # what a continued training needs


def _sample(fold: Fold, bench: Bench, *, generation: Generation, label: str, count: int) -> None:
    patches_file.save(fold.samples(generation, label, count), bench.folder / SAMPLES)
