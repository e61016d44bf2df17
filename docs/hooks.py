"""What the documentation site takes from elsewhere: its reference from the code, the tests' remarks from the pages.

MkDocs calls the functions whose names begin with ``on_`` (https://www.mkdocs.org/user-guide/plugins/#events).
"""

import pkgutil
import re
from collections.abc import Iterator
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

import lesionforge
from lesionforge.cli import app

PACKAGES = (
    *("data", "augment", "generators", "synthesis", "classifiers"),
    *("distances", "evaluation", "tasks", "experiments", "report"),
)
REMARK = re.compile(r"^<!-- (not run|shortened): ([^\n]+) -->\n(```.*?^```$)", flags=re.MULTILINE | re.DOTALL)
REMARKS = {"not run": "Not run by the tests: {}.", "shortened": "The tests run it shorter: <code>{}</code>."}


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let the reference's pages follow the command line's in the navigation."""
    (reference,) = (section["Reference"] for section in config.nav or [] if "Reference" in section)
    for package in PACKAGES:
        pages = [{name.rpartition(".")[2]: f"reference/{name}.md"} for name in packages(package)]
        reference.append({f"lesionforge.{package}": pages})
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference: a page for the command line, and one for each package."""
    pages = {"command_line": command_line()}
    pages |= {name: package_page(name) for package in PACKAGES for name in packages(package)}
    for name, content in pages.items():
        files.append(File.generated(config, f"reference/{name}.md", content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Say under a block what its comment says of how tests run it."""
    return REMARK.sub(lambda found: f"{found[3]}\n\n{remark(found[1], found[2])}", markdown)


def remark(kind: str, text: str) -> str:
    """A line in small print."""
    return f'<p class="tested">{REMARKS[kind].format(text)}</p>'


def packages(name: str) -> list[str]:
    """A package and those inside it that hold modules."""
    inner = [package for _, package, is_package in pkgutil.iter_modules(place(name)) if is_package]
    return [name, *(each for package in inner for each in packages(f"{name}.{package}"))]


def place(name: str) -> list[str]:
    """Folders of a package, named below lesionforge."""
    return [f"{path}/{name.replace('.', '/')}" for path in lesionforge.__path__]


def package_page(name: str) -> str:
    """Every module of a package, one after the other; mkdocstrings fills in what their docstrings say."""
    modules = [module for _, module, is_package in pkgutil.iter_modules(place(name)) if not is_package]
    return "\n\n".join([f"# lesionforge.{name}", *(f"::: lesionforge.{name}.{module}" for module in modules)])


def command_line() -> str:
    """What each verb says of itself."""
    shown = (f"## {words}\n\n```text\n{text}\n```" for words, text in helps(typer.main.get_command(app), "lesionforge"))
    return "\n\n".join(["# The command line", *shown])


def helps(command: Any, words: str) -> Iterator[tuple[str, str]]:
    """Yield the words of a command and of all below it, and their ``--help``."""
    context = command.make_context(words, [], resilient_parsing=True)
    yield words, command.get_help(context)
    if isinstance(command, typer.core.TyperGroup):
        for name, inner in command.commands.items():
            yield from helps(inner, f"{words} {name}")
