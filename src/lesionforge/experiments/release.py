"""From a finished run to the classifiers of one of its regimes, for use."""

from pathlib import Path

from lesionforge.classifiers import saved
from lesionforge.classifiers.model import Model
from lesionforge.experiments.engine import CONFIG
from lesionforge.experiments.fold import checkpoint_names
from lesionforge.storage import read_json


def model_of(run: Path, regime: str) -> Model:
    """Return the classifiers of all folds and repeats of a run, fitted under ``regime``, as one model.

    Raises
    ------
    StorageError
        The run is not finished, or a classifier in it is not what it should be.
    """
    config = read_json(run / CONFIG, of="a run")
    names = checkpoint_names(regime, folds=config["folds_run"] or config["folds"], repeats=config["repeats"])
    return Model([saved.load(run / "checkpoints" / name) for name in names])
