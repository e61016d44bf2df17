"""What verbs share: their common options, how the program was called, and how facts are printed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, Progress

Out = Annotated[Path, typer.Option("--out", help="Folder to make; it must not exist yet.")]
Run = Annotated[Path, typer.Option("--out", help="Folder of the run; a run begun there is continued.")]
Set = Annotated[list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a setting; may be repeated.")]
Seed = Annotated[int, typer.Option(min=0, help="Same seed, same result.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, …")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Window = Annotated[str, typer.Option(help="Range of intensities that networks see: lung, mediastinum, liver, u8.")]
PatchesFolder = Annotated[Path, typer.Argument(metavar="PATCHES", help="Folder of patches.")]
Scale = Annotated[str, typer.Option(help="smoke (minutes), desk (an evening) or paper (as published).")]


@dataclass
class Invocation:
    """How the program was called: what verbs need beyond their own arguments."""

    command: str = "lesionforge"
    progress: Progress = SILENT


INVOCATION = Invocation()


def three_numbers(text: str, *, of: str) -> tuple[float, float, float]:
    """Read three numbers with commas."""
    try:
        first, second, third = (float(part) for part in text.split(","))
    except ValueError:
        raise LesionForgeError(f"{of} must be three numbers with commas, but {text!r} came.") from None
    return first, second, third


def lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    """A line for each fact; facts of facts are indented."""
    for name, fact in facts.items():
        if isinstance(fact, Mapping):
            if fact:
                yield f"{indent}{name or '(unlabelled)'}:"
            yield from lines(fact, indent + "  ")
        else:
            shown = _shown(fact)
            yield f"{indent}{name}: {shown}"


def _shown(fact: Any) -> str:
    if isinstance(fact, list):
        return ("×" if all(isinstance(part, int) for part in fact) else ", ").join(map(_shown, fact))
    return "unknown" if fact is None else f"{fact:.6g}" if isinstance(fact, float) else str(fact)
