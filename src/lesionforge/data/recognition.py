"""Which format lies at a path."""

from pathlib import Path

from lesionforge import registry
from lesionforge.data import patches_file, sources
from lesionforge.data.source import Source
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress

AUTO = "auto"


def source_at(path: Path, format_: str = AUTO, *, progress: Progress = SILENT) -> tuple[Source, str]:
    """Return the source that reads ``path``, with the settings that lie beside the data, and what it recognised.

    Parameters
    ----------
    format_
        A file in `lesionforge.data.sources`, or ``auto``: the first that recognises something, by precedence.

    Raises
    ------
    LesionForgeError
        There is nothing there, or nothing that any format recognises.
    """
    if not path.exists():
        raise StorageError(f"{path} must be a file or folder of scans, pictures or arrays, but there is none.")
    if (path / patches_file.MANIFEST).exists():
        raise LesionForgeError(f"{path} holds patches that LesionForge wrote: use them as they are.")
    if format_ != AUTO:
        kind = registry.class_named(sources, format_, Source)  # type: ignore[type-abstract]
        return kind.at(path), kind.recognise(path) or f"{format_}, as you say"
    kinds = [
        registry.class_named(sources, name, Source)  # type: ignore[type-abstract]
        for name in registry.names(sources)
    ]
    found = [(kind, what) for kind in kinds if (what := kind.recognise(path))]
    if not found:
        raise LesionForgeError(
            f"{path} holds nothing that a format recognises ({', '.join(registry.names(sources))}): name its format "
            "with --format, and see `lesionforge methods`."
        )
    found.sort(key=lambda each: -each[0].precedence)
    (kind, what), *others = found
    progress.say(f"recognised {what}")
    for other, also in others:
        progress.say(f"  (also {also}: --format {registry.name_of(other)})")
    return kind.at(path), what
