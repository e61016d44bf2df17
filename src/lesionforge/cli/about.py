"""Verbs that say what there is."""

import json
from types import ModuleType

import typer

from lesionforge import registry
from lesionforge.cli.options import Json


def methods(as_json: Json = False) -> None:
    """List every source, selection, cutter, recipe, generator, classifier and protocol, with its paper.

    Example: lesionforge methods
    """
    from lesionforge.augment import recipes
    from lesionforge.augment.recipe import Recipe
    from lesionforge.classifiers import methods as classifiers
    from lesionforge.classifiers.contract import Classifier
    from lesionforge.data import cutting, selection, sources
    from lesionforge.experiments import protocols
    from lesionforge.generators import methods as generators
    from lesionforge.generators.contract import GenerativeMethod

    listed: dict[str, dict[str, str]] = {
        "sources": _first_lines(sources),
        "selections": {name: each.about for name, each in selection.SELECTIONS.items()}
        | {name: (function.__doc__ or "").strip() for name, function in selection.WHOLE_COHORT.items()},
        "labellings": {name: each.about for name, each in selection.LABELLINGS.items()},
        "cutters": _first_lines(cutting),
        "recipes": {
            name: registry.class_named(recipes, name, Recipe).paper  # type: ignore[type-abstract]
            for name in registry.names(recipes)
        },
        "generators": {
            name: registry.class_named(generators, name, GenerativeMethod).paper  # type: ignore[type-abstract]
            for name in registry.names(generators)
        },
        "classifiers": {
            name: registry.class_named(classifiers, name, Classifier).paper  # type: ignore[type-abstract]
            for name in registry.names(classifiers)
        },
        "protocols": _first_lines(protocols),
    }
    if as_json:
        typer.echo(json.dumps(listed, ensure_ascii=False))
        return
    for kind, found in listed.items():
        typer.echo(f"{kind}:")
        for name, about in found.items():
            typer.echo(f"  {name:20} {about}")


def doctor(as_json: Json = False) -> None:
    """Say what is installed, which devices there are, and what to do about gaps.

    Example: lesionforge doctor
    """
    from lesionforge.environment import examine

    found = examine()
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in found]))
        return
    for finding in found:
        typer.echo(f"{finding.name:14} {finding.state}" + (f"   → {finding.advice}" if finding.advice else ""))


def _first_lines(folder: ModuleType) -> dict[str, str]:
    """Say of each file in a registry's folder what its first line says."""
    modules = {name: registry.module_named(folder, name) for name in registry.names(folder)}
    return {name: (module.__doc__ or "").strip().splitlines()[0] for name, module in modules.items()}
