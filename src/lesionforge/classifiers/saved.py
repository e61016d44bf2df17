"""Classifiers on disk: opens what `FittedClassifier.save` wrote, whatever its method."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lesionforge import registry, settings
from lesionforge.classifiers import methods
from lesionforge.classifiers.contract import (
    FORMAT,
    MANIFEST,
    SAFEGUARDS,
    VERSION,
    WEIGHTS,
    Arrays,
    Classifier,
    Facts,
    FittedClassifier,
)
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window
from lesionforge.errors import StorageError
from lesionforge.networks import load_tensors
from lesionforge.storage import check_files, digest, read_manifest


def load(path: Path | str) -> FittedClassifier:
    """Open a saved classifier.

    Raises
    ------
    StorageError
        The folder is missing, foreign, cut short, changed, or what it holds belongs to another method.
    """
    path = Path(path)
    manifest = read_manifest(path / MANIFEST, of="a classifier", format_=FORMAT, version=VERSION)
    if manifest.pop("digest", None) != digest(manifest):
        raise StorageError(f"{path / MANIFEST} does not match its checksum: it was changed, copy or fit it again.")
    try:
        check_files(path, manifest["files"])
        facts = _facts(manifest["facts"])
        method_class = registry.class_named(methods, manifest["method"], Classifier)  # type: ignore[type-abstract]
        method = settings.from_json(method_class, manifest["settings"])
        fitted = method.restored(facts, _arrays(path / WEIGHTS))
        fitted.put_safeguards(_arrays(path / SAFEGUARDS))
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path / MANIFEST} is incomplete ({error!r}): fit it again.") from error
    return fitted


def _arrays(path: Path) -> Arrays:
    return {name: array.numpy() for name, array in load_tensors(path).items()}


def _facts(value: Mapping[str, Any]) -> Facts:
    return Facts(
        classes=tuple(value["classes"]),
        shape=tuple(value["shape"]),
        window=Window(**value["window"]),
        spacing_mm=tuple((low, high) for low, high in value["spacing_mm"]),
        exposure=Exposure.from_json(value["exposure"]),
    )
