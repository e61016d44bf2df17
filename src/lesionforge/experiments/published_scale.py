"""In what a run's settings differ from its protocol at the scale that was published: found by comparing, not typed."""

from collections.abc import Iterator, Mapping
from typing import Any

from lesionforge import registry
from lesionforge.experiments import protocols
from lesionforge.experiments.described import to_json
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.protocol import Asked, protocol_named

Difference = dict[str, Any]
UNCOUNTED = {"published", "lines", "choices", "pairs", "shown", "title", "seed"}  # follow from regimes, or say nothing
FILES_ONLY = {"checkpoint_every_images", "grid_every_images", "check_every_images"}  # decide no result, or hardly
NAMED = ("generators", "classifiers", "regimes")


def differences(experiment: Experiment) -> list[Difference]:
    """Return setting, here, published of each that differs; nothing for an experiment of no protocol."""
    if experiment.protocol not in registry.names(protocols):
        return []
    protocol = protocol_named(experiment.protocol)
    asked = Asked(window=experiment.window)
    if protocol.open:
        generators, classifiers = (
            [each.name for each in those] for those in (experiment.generators, experiment.classifiers)
        )
        asked = Asked(experiment.window, tuple(generators), tuple(classifiers))
    ours, theirs = to_json(experiment), to_json(protocol.experiment("paper", asked))
    return list(_differing(ours, theirs))


def _differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[Difference]:
    for name in ours:
        if name in NAMED:
            yield from _named(name, ours[name], theirs[name])
        elif name not in UNCOUNTED:
            yield from _flat(name, ours[name], theirs.get(name))


def _named(what: str, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Iterator[Difference]:
    """Those of one name are held against each other; which there are is said once."""
    here, there = ({each["name"]: each for each in those} for those in (ours, theirs))
    if list(here) != list(there):
        yield {"setting": what, "here": "; ".join(here) or "none", "published": "; ".join(there) or "none"}
    for name in here:
        if name in there:
            yield from _flat(f"{what}.{name}", here[name], there[name])


def _flat(name: str, ours: Any, theirs: Any) -> Iterator[Difference]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in ours:
            if key not in FILES_ONLY:
                yield from _flat(f"{name}.{key}", ours[key], theirs.get(key))
    elif ours != theirs:
        yield {"setting": name, "here": _text(ours), "published": _text(theirs)}


def _text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
