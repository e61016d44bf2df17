"""An experiment's folds, unfolded into the tasks of a graph."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from lesionforge.experiments.assessing import assessing_tasks
from lesionforge.experiments.classifier_tasks import choosing_tasks, embedding_tasks, fitting_tasks, tuning_tasks
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.generator_tasks import sampling_tasks, training_tasks
from lesionforge.experiments.reading import reading_tasks
from lesionforge.tasks.graph import Graph, Resources, Task

KINDS: tuple[Callable[[Fold], Iterable[Task]], ...] = (
    training_tasks,
    sampling_tasks,
    tuning_tasks,
    fitting_tasks,
    choosing_tasks,
    embedding_tasks,
    assessing_tasks,
    reading_tasks,
)


def unfold(folds: Sequence[Fold], resources: Resources) -> Graph:
    """Return the tasks of all folds, each of which takes ``resources``; those that take a moment need no GPU."""
    tasks = {task.name: task for fold in folds for kind in KINDS for task in kind(fold)}
    light = replace(resources, gpus=0.0)
    return Graph([replace(task, resources=resources if task.cost.kind else light) for task in tasks.values()])
