"""The command line: parses, calls, prints. Everything here is also a plain Python call.

Exit codes: 0 done; 2 the input is wrong (one message); 1 our fault (a traceback); 130 interrupted, and resumable.
Heavy packages are imported by the verb that needs them, so that ``--help`` is quick.
"""

import shlex
import sys
import traceback
from concurrent.futures import BrokenExecutor
from typing import Annotated, NoReturn

import typer

from lesionforge import __version__
from lesionforge.cli import about, data, experiments, generators, insertion, inspection, use
from lesionforge.cli.evaluate import evaluate
from lesionforge.cli.latent import latent
from lesionforge.cli.options import INVOCATION
from lesionforge.cli.reader_study import reader_study
from lesionforge.errors import LesionForgeError
from lesionforge.progress import SILENT, TerminalProgress

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Synthesise CT lesions, train classifiers with and without them, and say whether they helped.",
)

VERBS = (
    experiments.demo,
    data.ingest,
    data.phantom,
    data.augment,
    data.split,
    data.download,
    inspection.inspect,
    inspection.annotate,
    generators.train,
    generators.sample,
    insertion.insert,
    insertion.populate,
    experiments.classify,
    use.predict,
    use.export,
    use.serve_model,
    experiments.experiment,
    experiments.report,
    about.methods,
    about.doctor,
)
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit."""
    arguments = sys.argv[1:] if arguments is None else arguments
    INVOCATION.command = shlex.join(["lesionforge", *arguments])
    try:
        app(arguments, prog_name="lesionforge")
    except LesionForgeError as error:
        if "--debug" in arguments:
            traceback.print_exc()
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
    except OSError as error:
        if error.filename is None or "--debug" in arguments:
            raise
        typer.echo(f"error: {error.filename} cannot be read or written: {error.strerror}.", err=True)
        sys.exit(2)
    except (MemoryError, BrokenExecutor):  # a process that takes too much memory is ended by the system
        if "--debug" in arguments:
            raise
        typer.echo(
            "error: there must be memory for all processes, but it ran out, or one was ended from outside: choose "
            "fewer workers or smaller patches. The same command goes on with what is done.",
            err=True,
        )
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == INTERRUPTED:
            typer.echo(
                "interrupted; nothing is half-written. The same command continues a run, with --resume a training.",
                err=True,
            )
        raise
    raise AssertionError("the command line exits by itself")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001 (its callback comes before the missing verb is noticed)
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show no progress.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,  # noqa: ARG001
) -> None:
    """Options before the verb."""
    INVOCATION.progress = SILENT if quiet else TerminalProgress()


for verb in VERBS:
    app.command()(verb)
app.add_typer(latent, name="latent")
app.add_typer(evaluate, name="evaluate")
app.add_typer(reader_study, name="reader-study")
