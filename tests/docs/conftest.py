"""What the documentation shows, taken apart: pages, their fenced blocks, the commands in these.

A block that cannot be run as it is printed says so in an HTML comment right before it:

- ``<!-- not run: REASON -->``: it needs data, hours or machines that are not there. Its commands are still parsed.
- ``<!-- shortened: WORDS: OPTIONS; WORDS: OPTIONS -->``: commands that begin with these words get these options, too.

A block with a title (as in ```` ```json title="lung/arrays.json" ````) is the file of that name.
"""

import importlib
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(
    r'(?:^<!-- (?P<note>[^\n]+) -->\n)?^```(?P<language>\w*)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$',
    flags=re.MULTILINE | re.DOTALL,
)
NOT_RUN, SHORTENED = "not run: ", "shortened: "


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: str
    line: int
    language: str
    title: str
    text: str
    note: str

    @property
    def where(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def is_run(self) -> bool:
        return not self.note.startswith(NOT_RUN)

    @property
    def commands(self) -> list[list[str]]:
        """Words of each command of a shell block, as printed."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [words for line in lines if (words := shlex.split(line, comments=True))]

    def shortened(self, words: list[str]) -> list[str]:
        """What is appended to a command (its words after the program)."""
        if not self.note.startswith(SHORTENED):
            return []
        parts = [part.split(":", 1) for part in self.note.removeprefix(SHORTENED).split(";")]
        applying = (options for beginning, options in parts if words[: len(beginning.split())] == beginning.split())
        return [option for options in applying for option in shlex.split(options)]


def read_blocks(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(
            page,
            line=text.count("\n", 0, match.start("language")) + 1,
            language=match["language"],
            title=match["title"] or "",
            text=match["text"],
            note=match["note"] or "",
        )
        for match in BLOCK.finditer(text)
    ]


def write(blocks: list[Block], folder: Path, patch: pytest.MonkeyPatch) -> None:
    for block in blocks:
        if block.title:
            file = folder / block.title
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text, encoding="utf-8")
            if block.title.startswith("src/"):
                package = importlib.import_module(".".join(Path(block.title).parent.parts[1:]))
                patch.setattr(package, "__path__", [*package.__path__, str(file.parent)])


@pytest.fixture(scope="session")
def write_files() -> Callable[[list[Block], Path, pytest.MonkeyPatch], None]:
    """Writes those blocks of a page into a folder that are files; methods among them join the registry."""
    return write


@pytest.fixture(scope="session")
def root() -> Path:
    """Folder of the repository."""
    return ROOT


@pytest.fixture(scope="session")
def blocks_of() -> Callable[[str], list[Block]]:
    """Reads the fenced blocks of a page, which is named from the repository's root."""
    return read_blocks
