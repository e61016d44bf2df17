"""Every command that README and docs show fits the command line as it is, also those that tests do not run."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import typer

from lesionforge import registry, settings
from lesionforge.augment import recipes
from lesionforge.classifiers import methods as classifiers
from lesionforge.classifiers.contract import Classifier
from lesionforge.cli import app
from lesionforge.data import cutting, sources
from lesionforge.experiments import protocols
from lesionforge.generators import methods as generators
from lesionforge.generators.contract import GenerativeMethod

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *(str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md")))]
LANGUAGES = {"sh", "python", "json", "text"}
INLINE = re.compile(r"(?<!`)`lesionforge ([^`]+)`(?!`)")
# Arguments of verbs that name a file in a registry's folder.
NAMED = {
    ("train", "method"): generators,
    ("classify", "method"): classifiers,
    ("experiment", "protocol"): protocols,
    ("experiment", "generators"): generators,
    ("experiment", "classifiers"): classifiers,
    ("augment", "recipe"): recipes,
    ("ingest", "cut"): cutting,
    ("ingest", "format_"): sources,
}
WITH_SETTINGS = {"train": (generators, GenerativeMethod), "classify": (classifiers, Classifier)}


def leaves(command, path=()):
    """Every verb of the command line, by its words."""
    if isinstance(command, typer.core.TyperGroup):
        for name, inner in command.commands.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path, command


@pytest.fixture
def parsed():
    """Parse words as the command line does, without doing anything: the verb's words, and its arguments by name."""
    command_line = typer.main.get_command(app)
    came = {}

    def note(path):
        return lambda **arguments: came.update(path=path, arguments=arguments)

    for path, command in leaves(command_line):
        command.callback = note(path)
    command_line.callback = None

    def parse(words):
        came.clear()
        command_line.main(words, standalone_mode=False)
        return came["path"], came["arguments"]

    return parse


def check_names(verb: str, arguments) -> None:
    """Raise LesionForgeError if a method, protocol … or one of its settings does not exist."""
    for (of, argument), folder in NAMED.items():
        value = arguments.get(argument)
        if of == verb and value and value != "auto" and not value.endswith(".json"):  # a run's experiment
            for name in value.split(","):
                registry.module_named(folder, name)
    if verb in WITH_SETTINGS:
        folder, base = WITH_SETTINGS[verb]
        method = registry.class_named(folder, arguments["method"], base)
        settings.with_overrides(method(), arguments["set_"])


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_known_kind_and_every_mark_is_one(page, blocks_of):
    blocks = blocks_of(page)
    fences = re.findall(r"^ *```", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(fences) == 2 * len(blocks), "a fence is indented, is not closed, or has words after its language"
    for block in blocks:
        assert block.language in LANGUAGES, f"{block.where}: say what the block is ({', '.join(sorted(LANGUAGES))})"
        assert re.match(r"not run: \S|shortened: \S|$", block.note), f"{block.where}: {block.note}"


@pytest.mark.parametrize("page", PAGES)
def test_every_command_fits_the_command_line(page, blocks_of, parsed, write_files, tmp_path, monkeypatch):
    write_files(blocks_of(page), tmp_path, monkeypatch)
    for block in blocks_of(page):
        for words in block.commands if block.language == "sh" else []:
            try:
                check_command(words, parsed)
            except Exception as error:
                error.add_note(f"{block.where}: {' '.join(words)}")
                raise


def check_command(words, parsed) -> None:
    program, *arguments = words
    if "lesionforge" in words and program in {"lesionforge", "torchrun"}:
        (verb, *_), given = parsed(cut_at(words[words.index("lesionforge") + 1 :], ">"))
        check_names(verb, given)
    elif program == "python3":
        assert arguments[:1] == ["run.py"]
        assert arguments[1] in {"demo", "test", "check"}
    elif program == "python":
        check_script(*arguments)
    elif program == "pip":
        check_extras(arguments[-1])
    else:
        assert program in {"curl", "ray"}, "a program that this test does not know"


@pytest.mark.parametrize("page", PAGES)
def test_python_that_is_not_run_imports_what_there_is(page, blocks_of):
    for block in blocks_of(page):
        if block.language == "python" and not block.is_run:
            tree = ast.parse(block.text)
            imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
            exec(compile(ast.Module(imports, []), block.page, "exec"), {})


def test_every_link_of_the_readme_leads_somewhere():
    """MkDocs checks those of the site."""
    for target in re.findall(r"\]\(([^)#: ]+)(?:#[^)]*)?\)", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


def test_every_picture_is_shown_or_said_to_be_made():
    shown = "".join((ROOT / page).read_text(encoding="utf-8") for page in PAGES)
    for picture in (ROOT / "docs" / "images").rglob("*.*"):
        assert picture.name in shown or str(picture.parent.relative_to(ROOT)) in shown, picture.name


def cut_at(words, mark):
    return words[: words.index(mark)] if mark in words else words


def check_script(file: str, *arguments: str) -> None:
    """A benchmark exists, and its text knows the options."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for word in arguments:
        if word.startswith("--"):
            assert f'"{word}"' in text, f"{file} has no {word}"


def check_extras(requirement: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for extra in re.search(r"\[(.+)\]", requirement)[1].split(","):
        assert extra in project["optional-dependencies"], f"there is no extra {extra}"


@pytest.mark.parametrize("page", PAGES)
def test_every_verb_and_option_named_in_the_text_exists(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    known = {" ".join(path): command for path, command in leaves(typer.main.get_command(app))}
    groups = {name.split()[0] for name in known if " " in name}
    for shown in INLINE.findall(text):
        words = shown.replace("\n", " ").split()
        verb = " ".join(words[:2] if words[0] in groups and len(words) > 1 else words[:1])
        if verb in groups or words[0].startswith("-"):
            continue
        assert verb in known, f"{page}: lesionforge {shown}"
        options = {option for parameter in known[verb].params for option in parameter.opts} | {"--help"}
        asked = {word.split("=")[0] for word in words if word.startswith("--")}
        assert asked <= options, f"{page}: lesionforge {shown}"
