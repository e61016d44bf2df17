"""What a task does in a fold, in whatever process it is done.

A kind of task is added by a function that takes a `Fold` and returns its `Task`s (see `generator_tasks`,
`classifier_tasks`), named in `unfold.KINDS`; what such a task does is a function of the fold and the `Bench`, sent as
``call=working(fold, action)``. Its key must tell all that decides its result: whatever the action reads of the
experiment, digests of the patches, seeds, and the keys of the tasks whose results it opens (``fold.results``), which
its ``needs`` must name. If a table that it leaves is to be in the run's tables, `run_tables.COLLECTED` names it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lesionforge.data.patches import Patches
from lesionforge.data.splits import Split
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.tasks.graph import Bench

Action = Callable[[Fold, Bench], None]


@dataclass(frozen=True)
class RunData:
    """What every task of a run is given: its patches, and synthetic ones from elsewhere if there are any."""

    patches: Patches
    given: Patches | None = None


@dataclass(frozen=True, eq=False)
class _Work:
    """An action on a fold, without the fold's patches: those are with whoever does it."""

    experiment: Experiment
    split: Split
    portion: float
    action: Action

    def __call__(self, bench: Bench) -> None:
        data: RunData = bench.shared
        fold = Fold(self.experiment, data.patches, self.split, data.given, self.portion, bench.results)
        self.action(fold, bench)


def working(fold: Fold, action: Action) -> Callable[[Bench], None]:
    """Return what a task calls to have ``action`` work on ``fold``, elsewhere."""
    return _Work(fold.experiment, fold.split, fold.portion, action)
