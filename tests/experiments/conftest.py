"""A tiny experiment: everything in it happens, and takes about a second."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.patches import Patches
from lesionforge.experiments import engine
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.fold_work import RunData
from lesionforge.experiments.generator_tasks import samples_of, training_tasks
from lesionforge.experiments.ingredients import Contender, Generation, Regime
from lesionforge.experiments.provenance import Source
from lesionforge.experiments.results import Results
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.tasks.graph import Graph
from lesionforge.tasks.local import Here
from lesionforge.tasks.running import Running
from lesionforge.tasks.schedule import Schedule
from lesionforge.tasks.store import FolderStore


@pytest.fixture(scope="session")
def tiny() -> Experiment:
    """Raw against classic and DCGAN patches, 2 folds, 16×16 pixels."""
    return Experiment(
        protocol="tiny",
        title="A tiny experiment",
        generators=(
            Generation(
                "dcgan",
                DCGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5),
                TrainingPlan(images=48, log_every_images=16, checkpoint_every_images=24, grid_every_images=48),
                patches=6,
            ),
        ),
        classifiers=(
            Contender("small_cnn", SmallCNN(channels=(4, 4), batch_size=16, max_images=96, check_every_images=48)),
        ),
        regimes=(Regime("raw"), Regime("classic+dcgan", classic=8, synthetic_per_class=4)),
        size=16,
        folds=2,
        seed=3,
    )


@pytest.fixture(scope="session")
def cohort(small_patches: Callable[..., Patches]) -> Patches:
    """Ten patients, 20×20 pixels; lesions of one class are denser. Names that can be looked for."""
    patches = small_patches(patients=10, shape=(20, 20), prefix="secretname")
    dense = np.where(patches.labels == "malignant", 400, 0)[:, None, None] * patches.masks
    return patches.with_images((patches.images + dense).astype(np.int16), patches.masks).with_columns(
        scan=[f"secretscan-{k}" for k in range(len(patches))]
    )


@pytest.fixture(scope="session")
def with_samples() -> Callable[..., Fold]:
    """Gives a fold what tasks make of it: its generators, and the samples that regimes of these amounts add."""

    def make(fold: Fold, folder: Path, amounts: Iterable[int] = ()) -> Fold:
        tasks = {task.name: task for task in training_tasks(fold)}
        for amount in amounts:
            tasks |= {task.name: task for task in samples_of(fold, Regime("any", synthetic_per_class=amount))}
        graph, store = Graph(list(tasks.values())), FolderStore.opened(folder)
        outcome = Schedule(graph, store, Here(RunData(fold.patches, fold.given))).run()
        assert not outcome.failed
        return replace(fold, results=Results(graph, store))

    return make


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Running:
    """One task at a time, with a store that the tests share."""
    return Running(store=str(tmp_path_factory.mktemp("shared") / "store"))


@pytest.fixture(scope="session")
def finished_run(
    tiny: Experiment,
    cohort: Patches,
    tmp_path_factory: pytest.TempPathFactory,
    stop_after: Callable[..., Any],
    shared: Running,
) -> tuple[Path, int]:
    """An uninterrupted run, and in how many steps it was made."""
    watch = stop_after()
    out = tmp_path_factory.mktemp("run") / "out"
    return engine.run(tiny, cohort, out, source=Source("cohort"), progress=watch, how=shared), watch.seen
