"""An experiment as JSON and back, its methods by their names: a run is repeated from its folder's ``config.json``."""

from collections.abc import Mapping
from types import ModuleType
from typing import Any

from lesionforge import registry, settings
from lesionforge.classifiers import methods as classifiers
from lesionforge.classifiers.contract import Classifier
from lesionforge.errors import LesionForgeError
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Contender, Generation
from lesionforge.generators import methods as generators
from lesionforge.generators.contract import GenerativeMethod

NAMED: dict[str, tuple[type[Any], ModuleType, type[Any]]] = {  # fields that hold methods under names
    "generators": (Generation, generators, GenerativeMethod),
    "classifiers": (Contender, classifiers, Classifier),
}


def to_json(experiment: Experiment) -> dict[str, Any]:
    """Turn an experiment into what JSON can hold; `from_json` makes the same experiment of it."""
    described: dict[str, Any] = settings.to_json(experiment)
    for field in NAMED:
        for each, own in zip(described[field], getattr(experiment, field), strict=True):
            each["method"] = method_to_json(own.method)
    return described


def method_to_json(method: Classifier | GenerativeMethod) -> dict[str, Any]:
    """Turn a method into what JSON can hold: its name and its settings."""
    return {"method": registry.name_of(method), **settings.to_json(method)}


def from_json(values: Mapping[str, Any]) -> Experiment:
    """Make the experiment that `to_json` described.

    Raises
    ------
    LesionForgeError
        A method or a setting is not known, or a value does not fit.
    """
    made: dict[str, Any] = dict(values)
    for field, (kind, folder, base) in NAMED.items():
        made[field] = tuple(_with_method(kind, folder, base, each) for each in values.get(field, ()))
    return settings.from_json(Experiment, made)


def _with_method(kind: type[Any], folder: ModuleType, base: type[Any], values: Mapping[str, Any]) -> object:
    try:
        described = dict(values["method"])
        name = described.pop("method")
    except (KeyError, TypeError, ValueError):
        raise LesionForgeError(
            f"a {kind.__name__.lower()} must say its method and the method's settings, but {values!r} came."
        ) from None
    method = settings.from_json(registry.class_named(folder, name, base), described)
    return settings.from_json(kind, {**values, "method": method})
