"""Verbs of a reader study: made, invited to, served, watched, kept safe, closed, and told."""

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lesionforge.cli.options import INVOCATION, Json, Out, Seed, Set, three_numbers
from lesionforge.errors import LesionForgeError

HELP = (
    "Visual Turing tests in the browser: create, invite, serve, results. Readers say of real and synthetic lesions in "
    "random order which is which."
)
reader_study = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help=HELP)

Folder = Annotated[Path, typer.Argument(metavar="STUDY", help="Folder of the study.")]
DatabaseUrl = Annotated[
    str,
    typer.Option(
        "--database",
        metavar="URL",
        envvar="LESIONFORGE_READER_STUDY_DATABASE",
        help="postgresql://user@host/name; by default SQLite in the study's folder.",
    ),
]
PublicUrl = Annotated[
    str,
    typer.Option(
        "--url", envvar="LESIONFORGE_READER_STUDY_URL", help="What readers type: https://…, as the proxy shows it."
    ),
]
HERE = "http://127.0.0.1:8090"


@reader_study.command()
def create(
    patches: Annotated[
        list[Path],
        typer.Argument(metavar="PATCHES|SCANS…", help="Real and synthetic patches, or scans with lesions."),
    ],
    out: Out,
    title: Annotated[str, typer.Option(help="What readers see above the lesions.")] = "",
    per_class: Annotated[int, typer.Option(min=1, help="Lesions of each class and each origin.")] = 50,
    size: Annotated[int, typer.Option(min=0, help="Pixels along y and x; 0: of the smallest set, of scans 96.")] = 0,
    slices: Annotated[int, typer.Option(min=1, help="Of stacks that are cut out of scans.")] = 25,
    spacing_mm: Annotated[
        str, typer.Option(metavar="Z,Y,X", help="Of stacks that are cut out of scans. [the scan's own]")
    ] = "",
    label: Annotated[str, typer.Option(help="Class of real scans' lesions: as `ingest` takes it.")] = "",
    set_: Set = [],  # noqa: B006
    seed: Seed = 0,
) -> None:
    """Draw the items of a study; what each is, its row's origin says. Patients take part as evenly as can be.

    Scans are what `ingest` reads, and what `insert` and `populate` made; stacks are cut about their lesions.

    --set scale=two-way|four-level, synthetic_per_class, classes, ask_class, ask_comment, ask_region,
    training_per_class, repeats, batches, batches_each, totals_told, teaching, window, step.

    Example: lesionforge reader-study create lung.patches solid.synthetic --set repeats=10 --out turing.study
    """
    from lesionforge import settings
    from lesionforge.reader_study import creation
    from lesionforge.reader_study.design import Design
    from lesionforge.reader_study.stacks import Stacks
    from lesionforge.storage import refuse_existing

    refuse_existing(out)
    asked: dict[str, Any] = {"per_class": per_class, "seed": seed} | ({"title": title} if title else {})
    design = settings.with_overrides(settings.from_json(Design, asked), set_)
    spacing = three_numbers(spacing_mm, of="--spacing-mm") if spacing_mm else None
    wanted = {"slices": slices, "spacing_mm": spacing, "label": label} | ({"size": size} if size else {})
    stacks = settings.from_json(Stacks, wanted)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.stacks-", dir=out.parent) as workplace:
        sets = [stacks.cut(path, Path(workplace), progress=INVOCATION.progress) for path in patches]
        study = creation.create(sets, out, design=design, size=size)
    for warning in study.manifest["warnings"]:
        INVOCATION.progress.say(f"note: {warning}")
    typer.echo(f"{out}: {', '.join(f'{count} {side}' for side, count in sorted(study.counts.items()))}")


@reader_study.command()
def invite(
    study: Folder,
    names: Annotated[list[str], typer.Argument(metavar="NAME…", help="Pseudonyms: they appear in the results.")] = [],  # noqa: B006
    owner: Annotated[bool, typer.Option("--owner", help="Invite yourself to the page that shows progress.")] = False,
    url: PublicUrl = HERE,
    database: DatabaseUrl = "",
) -> None:
    """Print a link for each reader, which works once; a known name gets a new one, and its old sessions end.

    Example: lesionforge reader-study invite turing.study "Senior radiologist" --url https://readers.example.org
    """
    from lesionforge.reader_study.web.site import Site

    if not names and not owner:
        raise LesionForgeError("somebody must be invited: name readers, or give --owner.")
    ledger, site = _ledger(study, database), Site(url)
    for name in names:
        typer.echo(f"{name}\t{site.invitation_link(ledger.invite(name))}")
    if owner:
        typer.echo(f"(owner)\t{site.invitation_link(ledger.invite_owner())}")


@reader_study.command()
def serve(
    study: Folder,
    url: PublicUrl = HERE,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8090,
    host: Annotated[str, typer.Option(help="Address to listen at; keep it, and put a TLS proxy before it.")] = (
        "127.0.0.1"
    ),
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a limit: requests_per_s, at_once, …")
    ] = [],  # noqa: B006
    database: DatabaseUrl = "",
) -> None:
    """Serve a study until Ctrl-C. GET /health and, from this machine, /metrics; requests are logged as JSON lines.

    Example: lesionforge reader-study serve turing.study --url https://readers.example.org
    """
    _check_extra()
    from lesionforge import settings
    from lesionforge.reader_study.web.server import serve as run
    from lesionforge.reader_study.web.site import Site

    site = settings.with_overrides(Site(url), set_)
    INVOCATION.progress.say(f"serving {site.origin} at {host}:{port}; Ctrl-C ends it")
    run(study, site=site, host=host, port=port, database=database)


@reader_study.command()
def status(study: Folder, database: DatabaseUrl = "", as_json: Json = False) -> None:
    """How far each reader is.

    Example: lesionforge reader-study status turing.study
    """
    ledger = _ledger(study, database)
    progress = ledger.progress()
    if as_json:
        typer.echo(json.dumps({"closed": ledger.closed, "readers": progress}, ensure_ascii=False))
        return
    typer.echo("closed" if ledger.closed else "open")
    for reader in progress:
        typer.echo(f"{reader['done']}/{reader['total']}\t{reader['name']}")


@reader_study.command()
def close(study: Folder, database: DatabaseUrl = "") -> None:
    """Freeze a study: no answer is taken any more, and nothing reopens it.

    Example: lesionforge reader-study close turing.study
    """
    typer.echo("closed" if _ledger(study, database).close() else "was closed before")


@reader_study.command("back-up")
def back_up(study: Folder, out: Out, database: DatabaseUrl = "") -> None:
    """Copy a study and all its answers, while it runs if need be.

    Example: lesionforge reader-study back-up turing.study --out turing.backup
    """
    ledger = _ledger(study, database)
    from lesionforge.reader_study.backup import back_up as copy

    typer.echo(f"{out}: {copy(study, ledger.database, out)} answers")


@reader_study.command()
def restore(
    backup: Annotated[Path, typer.Argument(metavar="BACKUP", help="Folder that back-up made.")],
    out: Out,
    database: DatabaseUrl = "",
) -> None:
    """Make a study again from its back-up, in an empty database; readers are to be invited anew.

    Example: lesionforge reader-study restore turing.backup --out turing.study
    """
    _check_extra()
    from lesionforge.reader_study.backup import restore as make

    typer.echo(f"{out}: {len(make(backup, out, url=database).answers())} answers")


@reader_study.command()
def results(
    study: Folder,
    out: Out,
    radiomics: Annotated[
        bool, typer.Option("--radiomics", help="Hold readers against radiomics, too (extra radiomics).")
    ] = False,
    database: DatabaseUrl = "",
) -> None:
    """Tables, figures and one page: what readers could tell, how they agree, beside a classifier and the papers.

    Example: lesionforge reader-study results turing.study --out runs/turing
    """
    ledger = _ledger(study, database)
    from lesionforge.reader_study.outcome import write_outcome

    page = write_outcome(ledger, out, radiomics=radiomics, command=INVOCATION.command, progress=INVOCATION.progress)
    typer.echo(page)


@reader_study.command()
def export(
    study: Folder,
    out: Annotated[Path, typer.Option("--out", help="File to write; it must not exist yet.")],
    what: Annotated[
        Literal["design", "answers"],
        typer.Option(help="design: for registration before the study, no truth in it; answers: every one, with truth."),
    ] = "design",
    database: DatabaseUrl = "",
) -> None:
    """Write the design as JSON, or the raw answers as CSV or JSON (as the file's name ends).

    Example: lesionforge reader-study export turing.study --what design --out registration.json
    """
    _check_extra()
    from lesionforge.reader_study.study import Study
    from lesionforge.storage import refuse_existing, write_json

    refuse_existing(out)
    if what == "design":
        write_json(out, Study.open(study).registration)
    else:
        from lesionforge.reader_study.outcome import write_answers

        write_answers(_ledger(study, database), out)
    typer.echo(out)


def _ledger(study: Path, database: str) -> Any:
    _check_extra()
    from lesionforge.reader_study.database import Database
    from lesionforge.reader_study.ledger import Ledger
    from lesionforge.reader_study.study import Study

    opened = Study.open(study)
    return Ledger(opened, Database.open(study, database))


def _check_extra() -> None:
    from lesionforge.extras import check_extra

    check_extra("web", needed_by="reader-study")
