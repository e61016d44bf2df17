"""Tasks on a fold's classifiers: choosing settings, fitting, choosing among regimes, laying features out."""

from collections.abc import Iterator
from functools import partial

import pandas as pd

from lesionforge import settings
from lesionforge.classifiers import saved
from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.classifiers.tuning import Search, chosen
from lesionforge.evaluation.saturation import saturation
from lesionforge.experiments.described import method_to_json
from lesionforge.experiments.embedding import embedding_of
from lesionforge.experiments.fold import CHOSEN, PREDICTIONS, UNCALIBRATED, VALIDATION, Fold
from lesionforge.experiments.fold_patches import CHECKPOINT
from lesionforge.experiments.fold_work import working
from lesionforge.experiments.generator_tasks import CURVES, classic_facts, samples_of, training_task
from lesionforge.experiments.ingredients import Choice, Contender, Regime
from lesionforge.experiments.results import write_table
from lesionforge.storage import digest, safe_name, write_json
from lesionforge.tasks.graph import Bench, Cost, Task, key_of

STRANGENESS = "strangeness.csv"
CHOICES = "choices.csv"
TRIALS = "trials.csv"
EMBEDDING = "embedding.csv"
SEARCH = "search.json"


def tuning_tasks(fold: Fold) -> Iterator[Task]:
    """The search for each classifier's settings, if there is one."""
    if fold.experiment.tuning.trials:
        yield from (tuning_task(fold, contender) for contender in fold.experiment.classifiers)


def fitting_tasks(fold: Fold) -> Iterator[Task]:
    """Each regime's classifier."""
    yield from (fitting_task(fold, regime) for regime in fold.experiment.regimes)


def choosing_tasks(fold: Fold) -> Iterator[Task]:
    """Each choice among regimes."""
    yield from (choosing_task(fold, choice) for choice in fold.experiment.choices)


def embedding_tasks(fold: Fold) -> Iterator[Task]:
    """Features under each regime shown, in the first fold alone."""
    experiment = fold.experiment
    if experiment.embedded and fold.is_first:
        yield from (embedding_task(fold, name) for name in experiment.shown or experiment.names)


def tuning_task(fold: Fold, contender: Contender) -> Task:
    """Choose a classifier's settings."""
    plan = fold.experiment.tuning
    return Task(
        name=fold.tuning_name(contender),
        stage="tuning",
        key=key_of(
            does="tune a classifier",
            method=method_to_json(contender.method),
            plan=settings.to_json(plan),
            metric=fold.experiment.metric,
            seed=fold.seed("tuning"),
            **_patches(fold, fold),
        ),
        call=working(fold, partial(_tune, contender=contender)),
        about=_of_fold(fold) | {"classifier": contender.name},
        cost=_cost(contender, len(fold.source), times=plan.trials * plan.folds),
    )


def fitting_task(fold: Fold, regime: Regime) -> Task:
    """Fit a regime's classifier, and predict the test patients."""
    experiment, part = fold.experiment, fold.of_portion(regime.portion)
    contender = experiment.classifier_of(regime)
    samples = samples_of(fold, regime)
    needs = list(samples)
    if experiment.tuning.trials:
        needs.append(tuning_task(fold, contender))
    if regime.classic_of:
        (choice,) = (choice for choice in experiment.choices if choice.name == regime.classic_of)
        needs.append(choosing_task(fold, choice))
    classic = regime.classic or bool(regime.classic_of)
    given = fold.given if regime.given else None
    learnt_from = len(part.source) * regime.real + regime.classic
    learnt_from += regime.synthetic_per_class * len(samples) + (0 if given is None else len(given))
    return Task(
        name=fold.classifier_name(regime),
        stage="classifiers",
        key=key_of(
            does="fit a classifier",
            method=method_to_json(contender.method),
            seed=fold.seed("classifier"),
            real=regime.real,
            classic=classic_facts(fold, classic, "classifier")
            | {"amount": regime.classic, "of": regime.classic_classes},
            given=None if given is None else given.digest,
            needs=[task.key for task in needs],
            **_patches(fold, part),
        ),
        call=working(fold, partial(_fit, regime=regime)),
        needs=tuple(task.name for task in needs),
        about=_of_fold(fold) | {"regime": regime.name},
        cost=_cost(contender, learnt_from),
    )


def choosing_task(fold: Fold, choice: Choice) -> Task:
    """Choose among fitted regimes on the validation patients."""
    fits = [fitting_task(fold, regime) for regime in _regimes(fold, choice.among)]
    return Task(
        name=fold.choice_name(choice.name),
        stage="choices",
        key=key_of(
            does="choose among regimes",
            choice=settings.to_json(choice),
            needs=[task.key for task in fits],
            metric=fold.experiment.metric,
            seed=fold.seed("choice"),
        ),
        call=working(fold, partial(_choose, choice=choice)),
        needs=tuple(task.name for task in fits),
        about=_of_fold(fold),
    )


def embedding_task(fold: Fold, name: str) -> Task:
    """Lay out what a regime's or a choice's classifier makes of patches."""
    experiment = fold.experiment
    choices = [choice for choice in experiment.choices if choice.name == name]
    needs = [choosing_task(fold, choice) for choice in choices]
    among = choices[0].among if choices else (name,)
    needs += [fitting_task(fold, regime) for regime in _regimes(fold, among)]
    for generation in experiment.generators_used[:1]:
        part = fold.making(generation)
        needs += [training_task(part, generation, labels) for labels in part.generated(generation)]
    return Task(
        name=f"{fold.name}-embedding-{safe_name(name)}",
        stage="embeddings",
        key=key_of(
            does="lay features out",
            needs=[task.key for task in needs],
            embedded=experiment.embedded,
            seed=fold.seed("embedding"),
            **_patches(fold, fold),
        ),
        call=working(fold, partial(_lay_out, name=name)),
        needs=tuple(task.name for task in needs),
        about={"regime": name},
        cost=Cost("laying out", experiment.embedded),
    )


def _regimes(fold: Fold, names: tuple[str, ...]) -> list[Regime]:
    by_name = {regime.name: regime for regime in fold.experiment.regimes}
    return [by_name[name] for name in names]


def _of_fold(fold: Fold) -> dict[str, int]:
    return {"repeat": fold.split.repeat, "fold": fold.split.fold}


def _patches(fold: Fold, part: Fold) -> dict[str, object]:
    """All that decides which patches are learnt from, stopped by, and predicted; predictions tell their rows."""
    return {
        "size": fold.experiment.size,
        "training": part.source.digest,
        "validation": fold.validation.digest if len(fold.split.validation) else None,
        "test": fold.test.digest,
        "rows": digest([fold.split.validation.tolist(), fold.split.test.tolist()]),
    }


def _cost(contender: Contender, patches: int, *, times: int = 1) -> Cost:
    method, images = contender.method, patches
    if isinstance(method, NetworkClassifier):
        images = method.epochs * patches
        images = min(images, method.max_images) if method.max_images else images
    return Cost(f"fitting {contender.name}", images * times)


def _tune(fold: Fold, bench: Bench, *, contender: Contender) -> None:
    """Search; trials are kept as they are done, so that a killed search goes on."""
    experiment = fold.experiment
    search = Search(
        contender.method,
        fold.train,
        experiment.tuning,
        metric=experiment.metric,
        validation=fold.validation if len(fold.split.validation) else None,
        scored_on=fold.test,
        seed=fold.seed("tuning"),
    )
    trials = search.run(bench.unfinished / SEARCH, progress=bench.progress)
    rows = [{"trial": number, "score": trial.score, **trial.values} for number, trial in enumerate(trials)]
    write_table(bench.folder / TRIALS, pd.DataFrame(rows))
    write_json(bench.folder / CHOSEN, chosen(trials, metric=experiment.metric).values)


def _fit(fold: Fold, bench: Bench, *, regime: Regime) -> None:
    fitted, folder = fold.fit(regime, bench.progress), bench.folder
    fitted.save(folder / CHECKPOINT)
    write_table(folder / PREDICTIONS, fold.predict(fitted).to_table())
    if len(fold.split.validation):
        write_table(folder / VALIDATION, fold.predict_validation(fitted).to_table())
    if fitted.calibration is not None:
        write_table(folder / UNCALIBRATED, fold.predict(fitted.uncalibrated).to_table())
    strangeness = pd.DataFrame({"row": fold.split.test, "strangeness": fitted.strangeness(fold.test)})
    write_table(folder / STRANGENESS, strangeness)
    write_table(folder / CURVES, fitted.history.melt("images_shown", var_name="term"))


def _choose(fold: Fold, bench: Bench, *, choice: Choice) -> None:
    said = [fold.predictions(name, VALIDATION) for name in choice.among]
    found = saturation(said, metric=fold.experiment.metric, seed=fold.seed("choice"))
    table = found.assign(choice=choice.name, regime=choice.among)
    write_table(bench.folder / CHOICES, table)
    write_json(bench.folder / CHOSEN, {"regime": table.loc[table["chosen"], "regime"].item()})


def _lay_out(fold: Fold, bench: Bench, *, name: str) -> None:
    fitted = saved.load(fold.checkpoint_of_classifier(fold.regime_named(name)))
    write_table(bench.folder / EMBEDDING, embedding_of(fitted, fold.looked_at(), seed=fold.seed("embedding")))
