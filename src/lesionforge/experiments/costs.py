"""What a run would take: seconds of each task, from a moment's measurement on this machine.

A task's cost is a number of images, worked on by a network that all tasks of its *kind* share. So one task of each kind
that is not done is tried, for a second: a generator's training takes a few steps, a classifier is fitted on a little of
its fold. Sampling and what takes a moment are not counted.
"""

import time
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lesionforge.classifiers.network import NetworkClassifier
from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches
from lesionforge.experiments.engine import planned
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.ingredients import Contender, Generation
from lesionforge.generators.state import TrainingState
from lesionforge.networks import choose_device, seeded
from lesionforge.progress import clock
from lesionforge.tasks.forecast import Seconds, seconds_of
from lesionforge.tasks.perform import using_threads
from lesionforge.tasks.running import Running

MEASURED_S = 1.0
BATCHES = 4  # that a classifier is tried on


def plan_table(experiment: Experiment, patches: Patches, out: Path, *, how: Running) -> tuple[pd.DataFrame, list[str]]:
    """Return a row for each task (task, stage, state, estimate), and what they come to, in sentences."""
    graph, folds, present = planned(experiment, patches, out, how=how)
    todo = {task.key: task for task in graph if task.key not in present}
    with using_threads(how.cpus_per_task):
        rates = measured(folds[0], {task.cost.kind for task in todo.values()})
    seconds = {key: seconds_of(task.cost, rates) for key, task in todo.items()}
    rows = [
        {
            "task": task.name,
            "stage": task.stage,
            "state": "done" if task.key in present else "to do",
            "images": task.cost.images,
            "estimate": _about(seconds.get(task.key, 0.0)),
        }
        for task in graph
    ]
    total = sum(seconds.values())
    at_once = min(how.at_once, max(1, len(todo)))
    return pd.DataFrame(rows), [
        f"{len(graph)} tasks, {len(graph) - sum(task.key not in present for task in graph)} of them done.",
        f"About {_about(total)} of work; with {at_once} tasks at a time {_about(total / at_once)} or more.",
        (
            "Estimated as images × the seconds that an image took when each kind of task was tried for a moment on "
            f"this machine, threads a task: {how.cpus_per_task}; fits may stop early, other kinds come on top."
        ),
    ]


def measured(fold: Fold, kinds: set[str]) -> Seconds:
    """Try each kind of task for a moment; return the seconds that an image takes."""
    experiment, rates = fold.experiment, {}
    for generation in experiment.generators_used:
        if f"training {generation.name}" in kinds:
            rates[f"training {generation.name}"] = _training_rate(fold, generation)
    for contender in experiment.classifiers:
        if f"fitting {contender.name}" in kinds:
            rates[f"fitting {contender.name}"] = _fitting_rate(fold, contender)
    return {kind: rates.get(kind, 0.0) for kind in kinds}


def _training_rate(fold: Fold, generation: Generation) -> float:
    labels = fold.generated(generation)[0]
    with seeded("measured"):
        state = TrainingState(
            generation.method,
            fold.train if len(labels) > 1 else fold.train.with_label(labels[0]),
            window=window_named(fold.experiment.window, unit=fold.patches.unit),
            plan=generation.training,
            device=choose_device(),
        )
        state.step()  # the first takes longer than others
        start, images = time.perf_counter(), 0
        while time.perf_counter() - start < MEASURED_S or not images:
            images += state.step()
    return (time.perf_counter() - start) / images


def _fitting_rate(fold: Fold, contender: Contender) -> float:
    method, train = replace(contender.method, calibration="none"), fold.train
    images = len(train)
    if isinstance(method, NetworkClassifier):
        images = BATCHES * method.batch_size
        method = replace(method, max_images=images, epochs=1 + images // len(train))
    start = time.perf_counter()
    method.fit(train, seed=0)
    return (time.perf_counter() - start) / images


def _about(seconds: float) -> str:
    return clock(seconds) if seconds >= 1 else "a moment"
