"""The folder of an assessment becomes one HTML file that needs nothing else; of memorisation, a statement besides."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from lesionforge.data.hounsfield import window_named
from lesionforge.errors import StorageError
from lesionforge.evaluation.assessments.assessment import FORMAT, VERSION
from lesionforge.evaluation.tables import read_table
from lesionforge.report import assessment_figures as figures
from lesionforge.report.figures import plate
from lesionforge.report.page import Picture, save_picture, template
from lesionforge.report.statement import statement
from lesionforge.storage import read_json, read_manifest, write_text

SHOWN_FEATURES = 8
CHANCE, ALPHA = 0.5, 0.05


@dataclass(frozen=True, eq=False)
class FinishedAssessment:
    """What an assessment left, as it lies on disk: all that its page may know."""

    path: Path
    config: dict[str, Any]
    results: dict[str, Any]
    provenance: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> "FinishedAssessment":
        """Read the folder; raise StorageError if it is no assessment's."""
        config = read_manifest(path / "config.json", of="an assessment", format_=FORMAT, version=VERSION)
        others = (read_json(path / f"{name}.json", of="an assessment") for name in ("results", "provenance"))
        return cls(path, config, *others)

    @property
    def asked(self) -> dict[str, Any]:
        """What was compared, and how."""
        return dict(self.config["asked"])

    @property
    def numbers(self) -> dict[str, Any]:
        """Results as numbers."""
        return dict(self.results["numbers"])

    def table(self, name: str) -> pd.DataFrame:
        """One of its tables."""
        return read_table(self.path / "tables" / f"{name}.csv")

    def grey(self, name: str) -> NDArray[np.float32]:
        """One of its plates as the window shows it, in [0, 1]; of volumes the middle slices."""
        file = self.path / "plates" / f"{name}.npy"
        try:
            images = np.load(file, allow_pickle=False)
        except (OSError, ValueError) as error:
            raise StorageError(f"{file} must be a NumPy array, but {error}.") from error
        images = images if len(self.asked["shape"]) == 2 else images[..., images.shape[-3] // 2, :, :]
        return window_named(self.asked["window"], unit=self.asked["unit"]).to_unit_interval(images)


@dataclass(frozen=True)
class Row:
    """Cells as text; ``marked`` ones stand out."""

    cells: tuple[str, ...]
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """A table as a page shows it; all of it is in ``name``.csv."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page."""

    title: str
    text: str = ""
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()


def is_assessment(run: Path) -> bool:
    """Whether a run's folder is that of an assessment."""
    return (run / "results.json").is_file()


def write_assessment_report(run: Path | str) -> Path:
    """Write ``figures/`` and ``report.html`` into an assessment's folder, and return the page's path.

    Raises
    ------
    StorageError
        The folder is not an assessment's, or a file in it is not what it should be.
    """
    found = FinishedAssessment.read(Path(run))
    try:
        answer, tone = _answer(found)
        page = template("assessment.html.j2").render(
            config=found.config,
            asked=found.asked,
            provenance=found.provenance,
            sentences=found.results["sentences"],
            answer=answer,
            tone=tone,
            sections=list(SECTIONS[found.config["kind"]](found)),
            tables=sorted(file.stem for file in (found.path / "tables").glob("*.csv")),
        )
    except (KeyError, jinja2.UndefinedError) as error:
        raise StorageError(f"{run} must say all that a report shows, but {error}: evaluate it again.") from error
    path = found.path / "report.html"
    write_text(path, page)
    if found.config["kind"] == "memorisation":
        write_text(found.path / "statement.md", statement(found.asked, found.results, found.provenance))
    return path


def _answer(found: FinishedAssessment) -> tuple[str, str]:
    """In a word or two, and whether that is good news."""
    numbers = found.numbers
    match found.config["kind"]:
        case "memorisation":
            return ("▼ copies", "hurts") if numbers["flagged"] else ("◆ no copies found", "unsure")
        case "fidelity":
            return f"{numbers['measures'] - numbers['apart']} of {numbers['measures']} at the floor", "unsure"
        case "radiomics":
            return f"{numbers['alike_p_patient_bh']} of {numbers['features']} alike", "unsure"
        case _:
            return f"AUC {found.table('auc')['estimate'].max():.2f}", "unsure"


def _fidelity(found: FinishedAssessment) -> Iterator[Section]:
    table, kernel = _with_intervals(found.table("fidelity"), "excess_"), _with_intervals(found.table("kernel"))
    columns = ("measure", "taken_of", "better", "value", "floor", "excess", "interval")
    yield Section(
        "Every measure beside its floor",
        "The floor is the same measure between two halves of the held-out patients, the value that of as many samples "
        "against one half. Distances of so few lesions are above 0 though nothing differs: what counts is the excess "
        "over the floor, whose interval is over halvings of the patients. In bold, those that leave out 0.",
        (_drawn(found, "excess.svg", figures.excesses(table), "Excess of each measure over its floor."),),
        (
            _table("fidelity", f"Means over {found.asked['halvings']} halvings.", table, columns, table["apart"]),
            _table(
                "kernel",
                "Kernel distance of the whole sets, unbiased at any size, with its 95 % interval over patients.",
                kernel,
                ("taken_of", "value", "interval"),
                kernel["low"] > 0,
            ),
        ),
    )
    drawn = figures.spectrum_and_histogram(found.table("spectrum"), found.table("histogram"), unit=found.asked["unit"])
    about = "Power by spatial frequency, and shares of intensities."
    yield Section("Spectrum and intensities", pictures=(_drawn(found, "spectrum.svg", drawn, about),))
    plates = []
    for name in ("real", "synthetic"):
        heading = f"{name.upper()} · {found.asked['window']} window"
        drawn = plate(found.grey(name), heading=heading, synthetic=name == "synthetic")
        plates.append(_drawn(found, f"{name}.png", drawn, f"{name.upper()}, evenly taken from the set."))
    yield Section("Real beside synthetic", pictures=tuple(plates))


def _radiomics(found: FinishedAssessment) -> Iterator[Section]:
    table = found.table("features")
    asked = found.asked["radiomics"]
    settings = asked["settings"]
    resampling = "not resampled" if settings["resample_mm"] is None else f"at {settings['resample_mm']} mm"
    real, synthetic = found.table("values_real"), found.table("values_synthetic")
    distances = table.set_index("feature")["ks"].reindex(real.columns).tolist()
    ranked = table.sort_values("ks", kind="stable")
    shown = pd.concat([ranked[:SHOWN_FEATURES], ranked[-SHOWN_FEATURES:]])
    columns = ("feature", "ks", "ks_halved", "ks_floor", "p_value", "p_holm", "p_bh", "p_patient", "p_patient_bh")
    drawn = figures.feature_distributions(real, synthetic, distances)
    yield Section(
        "93 features",
        f"pyradiomics with a bin width of {settings['bin_width']:g} {found.asked['unit']}, {resampling}; masks: "
        f"{asked['masks']} ({asked['masks_mean']}), alike for both sets.",
        (
            _drawn(found, "features.svg", figures.feature_distances(table), "Distance of each feature, by family."),
            _drawn(
                found, "distributions.svg", drawn, "The three closest features (above), the three farthest (below)."
            ),
        ),
        (
            _table(
                "features",
                f"The {SHOWN_FEATURES} closest and the {SHOWN_FEATURES} farthest features. p value takes lesions as "
                "independent, p patient draws one of each patient; holm and bh are corrected for all features.",
                shown,
                columns,
            ),
        ),
    )
    yield from _separability(found)


def _separability(found: FinishedAssessment) -> Iterator[Section]:
    auc, roc = _with_intervals(found.table("auc")), found.table("roc")
    bands = {
        str(name): {str(judge): band for judge, band in of.groupby("judge", sort=False)}
        for name, of in roc.groupby("taken_of", sort=False)
    }
    yield Section(
        "Told apart by a classifier",
        "Folds are by patient. The floor is the mean AUC of telling one half of the patients from the other.",
        (_drawn(found, "roc.svg", figures.judges(bands), "ROC curves with bands over patients."),),
        (
            _table(
                "auc",
                "AUC of telling samples from held-out patients; ½ is chance, 1 is always right.",
                auc,
                ("judge", "taken_of", "estimate", "interval", "floor"),
                auc["low"] > CHANCE,
            ),
        ),
    )


def _memorisation(found: FinishedAssessment) -> Iterator[Section]:
    sets, attacks = found.table("sets"), _with_intervals(found.table("attacks"))
    yield Section(
        "How near samples come to training patients",
        "A ratio of 1: as near to the training patients as to others. Real lesions are asked the same, their own "
        "patient left out. Copies lie far on the left.",
        (_drawn(found, "ratios.svg", figures.ratios(found.table("ratios")), "Ratios of samples and of real lesions."),),
        (
            _table(
                "sets",
                "Samples nearer to training than the nearest real patients, and how many chance would bring.",
                sets,
                ("space", "patients_below", "samples_below", "expected", "p_value", "p_adjusted"),
                sets["p_adjusted"] < ALPHA,
            ),
        ),
    )
    nearest = found.table("samples").sort_values("ratio_pixels", kind="stable").to_dict("records")
    pairs = found.grey("pairs")
    captions = [
        f"{'COPY: ' if row['copy'] else ''}sample {row['sample']}, ratio {row['ratio_pixels']:.2f}"
        for row in nearest[: len(pairs)]
    ]
    yield Section(
        "The nearest samples",
        "Each sample on the left, the training image that it is nearest to on its right, as it lies there: it may have "
        "to be turned over to match. The right ones are patients' images: keep this page where those may be.",
        (_drawn(found, "pairs.png", figures.pairs(pairs, captions), "SYNTHETIC on the left, REAL on the right."),),
    )
    yield Section(
        "Who was trained on?",
        "An attacker who holds a patient's image guesses from the samples, or from the discriminator, whether that "
        "patient was in the training set.",
        tables=(
            _table(
                "attacks",
                "AUC of the guess, with its 95 % interval over patients; ½ says that nothing leaks.",
                attacks,
                ("attack", "auc", "interval"),
                attacks["low"] > CHANCE,
            ),
        ),
    )


SECTIONS: dict[str, Callable[[FinishedAssessment], Iterator[Section]]] = {
    "fidelity": _fidelity,
    "radiomics": _radiomics,
    "separability": _separability,
    "memorisation": _memorisation,
}


def _drawn(found: FinishedAssessment, name: str, figure: Figure, alt: str) -> Picture:
    return save_picture(found.path / "figures" / name, figure, alt)


def _table(
    name: str, caption: str, table: pd.DataFrame, columns: Sequence[str], marked: "pd.Series[bool] | None" = None
) -> Table:
    cells = [tuple(_cell(row[column]) for column in columns) for row in table.to_dict("records")]
    marks = [False] * len(table) if marked is None else marked.tolist()
    return Table(name, caption, tuple(columns), tuple(map(Row, cells, marks)))


def _with_intervals(table: pd.DataFrame, of: str = "") -> pd.DataFrame:
    ends = zip(table[f"{of}low"], table[f"{of}high"], strict=True)
    return table.assign(interval=[f"{_cell(low)} to {_cell(high)}" for low, high in ends])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value.replace("_", " ")
    return f"{value:.3g}".replace("-", "−") if np.isfinite(value) else "–"
