"""Verbs that use a model: what `classify` leaves in RUN/model, or a single saved classifier."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from lesionforge.cli.options import INVOCATION, Json, three_numbers
from lesionforge.errors import LesionForgeError

ModelFolder = Annotated[Path, typer.Argument(metavar="MODEL", help="RUN/model, or one saved classifier.")]


def predict(
    model: ModelFolder,
    source: Annotated[Path, typer.Argument(metavar="PATCHES|SCAN", help="Patches; or a scan, with --at.")],
    at: Annotated[str, typer.Option(metavar="X,Y,Z", help="A point of the scan, in mm: left, back, head (LPS).")] = "",
    series: Annotated[str, typer.Option(help="How the series instance UID ends, where there are several.")] = "",
    saliency: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Draw where networks look (Grad-CAM): up to 16 patches.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what patches show: probabilities, how far the model's members disagree, and what it refuses to judge.

    Prints a CSV table, a row a patch; strangeness above 1 is refused, and seen means that the model has learnt from
    this patient or image. For research; no medical device.

    Example: lesionforge predict runs/small_cnn/model scan.nii.gz --at -61.2,71.5,-89.4 --saliency nodule.png
    """
    from lesionforge.classifiers import model as models

    opened = models.load(model)
    patches = _patches(opened, source, at, series)
    answers = opened.answer(patches)
    if saliency is not None:
        _draw(opened, patches, answers, saliency)
    if as_json:
        typer.echo(json.dumps({"model": opened.summary, "answers": answers.to_json()}, ensure_ascii=False))
    else:
        typer.echo(answers.to_table().to_csv(index_label="row"), nl=False)


def export(
    model: ModelFolder,
    out: Annotated[Path, typer.Option("--out", help="File to write; it must not exist yet.")],
    kind: Annotated[Literal["onnx"], typer.Option("--as", help="onnx: intensities in, probabilities out.")] = "onnx",
) -> None:
    """Write a model as one file for other programs, verified to say what the model says. It does not refuse.

    Example: lesionforge export runs/small_cnn/model --as onnx --out nodules.onnx
    """
    del kind
    from lesionforge.classifiers import model as models
    from lesionforge.classifiers.onnx_file import write_onnx

    typer.echo(write_onnx(models.load(model), out))


def serve_model(
    model: ModelFolder,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen at; beyond this machine, put a proxy before it.")] = (
        "127.0.0.1"
    ),
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="Change a limit: at_once, answer_s, …")
    ] = [],  # noqa: B006
) -> None:
    """Answer over HTTP: POST a patch (.npy) to /patches, or a zipped DICOM series to /scans?x=&y=&z=.

    GET /model says what it takes, /openapi.json how. There is no authentication.

    Example: lesionforge serve-model runs/small_cnn/model --port 8080
    """
    from lesionforge import settings
    from lesionforge.classifiers import model as models
    from lesionforge.extras import check_extra

    check_extra("web", needed_by="serve-model")
    import uvicorn

    from lesionforge.serving.service import make_service
    from lesionforge.serving.uploads import Limits

    limits = settings.with_overrides(Limits(), set_)
    service = make_service(models.load(model), limits=limits)
    INVOCATION.progress.say(f"answering at http://{host}:{port}; Ctrl-C ends it")
    uvicorn.run(service, host=host, port=port, log_level="warning", access_log=False, timeout_keep_alive=5)


def release(run: Path, experiment: Any) -> Path:
    """Leave the model of a finished run's last regime in RUN/model, with its card; the same again where it is there."""
    from lesionforge.experiments.release import model_of
    from lesionforge.report.model_card import model_card

    regime = experiment.regimes[-1].name
    made = model_of(run, regime)
    return made.save(run / "model", card=model_card(run, regime=regime, summary=made.summary), overwrite=True)


def _patches(model: Any, source: Path, at: str, series: str) -> Any:
    from lesionforge.data import patches_file
    from lesionforge.data.open_scan import open_scan
    from lesionforge.data.patch_at import patch_at

    if (source / patches_file.MANIFEST).exists():
        if at:
            raise LesionForgeError("--at is a point of a scan, but patches came: leave it out.")
        return patches_file.load(source)
    if not at:
        raise LesionForgeError("a scan needs the point of the lesion: give it with --at X,Y,Z, or name patches.")
    point = three_numbers(at, of="--at")
    facts = model.facts
    return patch_at(open_scan(source, series=series), point, shape=facts.shape, spacing_mm=facts.spacing_mm)


def _draw(model: Any, patches: Any, answers: Any, png: Path) -> None:
    """Draw where the members look for what they call each patch."""
    from lesionforge.classifiers.saliency import MOST_DRAWN, overlay, saliency
    from lesionforge.data.contact_sheet import save_png

    shown = patches.rows(range(min(MOST_DRAWN, len(patches))))
    codes = answers.probability[: len(shown)].argmax(axis=1)
    maps = saliency(model.members, shown, codes)
    names = ", ".join(model.facts.classes[code] for code in codes)
    save_png(png, overlay(shown, maps, model.facts.window), about=f"Grad-CAM of: {names}")
    INVOCATION.progress.say(f"wrote {png}")
