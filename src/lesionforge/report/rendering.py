"""What pages share: their templates, and figures kept both as files and inside the page."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from lesionforge.evaluation.statistics import metric_title
from lesionforge.storage import new_file

_MIME = {"svg": "image/svg+xml", "png": "image/png"}
_DOTS_PER_INCH = 200


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it; ``name`` is its file in ``figures/``, ``alt`` says it in words."""

    name: str
    alt: str
    uri: str


def template(name: str) -> jinja2.Template:
    """A page's template, which complains of what it is not given."""
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.PackageLoader("lesionforge", "report"),
    )
    environment.filters |= {
        "title": metric_title,
        "score": score_text,
        "duration": _duration,
        "words": lambda name: str(name).replace("_", " "),
    }
    return environment.get_template(name)


def save_picture(path: Path, figure: Figure, alt: str) -> Picture:
    """Write a figure as SVG or PNG, as its name ends, and keep it for a page."""
    kind = path.suffix.removeprefix(".")
    stream = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "lesionforge"}):  # equal figures are equal files
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(stream, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    with new_file(path) as partial:
        partial.write_bytes(stream.getvalue())
    return Picture(path.name, alt, f"data:{_MIME[kind]};base64,{base64.b64encode(stream.getvalue()).decode()}")


def score_text(value: float) -> str:
    """Three digits; a dash of what is not defined."""
    return f"{value:.3f}".replace("-", "−") if np.isfinite(value) else "–"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
