"""The folder of an assessment becomes one HTML file that needs nothing else; of memorisation, a statement besides."""

from collections.abc import Callable, Iterator
from pathlib import Path

import jinja2
import pandas as pd

from lesionforge.errors import StorageError
from lesionforge.evaluation.fidelity import measure_title
from lesionforge.report import assessment_figures as figures
from lesionforge.report.comparison_figures import embeddings
from lesionforge.report.figures import plate
from lesionforge.report.finished_assessment import FinishedAssessment
from lesionforge.report.reader_sections import reader_sections
from lesionforge.report.rendering import template
from lesionforge.report.sections import Section, table_of, with_intervals
from lesionforge.report.statement import statement
from lesionforge.storage import write_text

SHOWN_FEATURES = 8
CHANCE, ALPHA = 0.5, 0.05


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
        case "readers":
            return f"AUC {numbers['auc']:.2f}", "unsure"
        case "embedding":
            return f"trust {numbers['trustworthiness']:.2f}", "unsure"
        case _:
            return f"AUC {found.table('auc')['estimate'].max():.2f}", "unsure"


def _fidelity(found: FinishedAssessment) -> Iterator[Section]:
    table, kernel = with_intervals(found.table("fidelity"), "excess_"), with_intervals(found.table("kernel"))
    table = table.assign(measure=table["measure"].map(measure_title))
    columns = ("measure", "taken_of", "better", "value", "floor", "excess", "interval")
    yield Section(
        "Every measure beside its floor",
        "The floor is the same measure between two halves of the held-out patients, the value that of as many samples "
        "against one half. Distances of so few lesions are above 0 though nothing differs: what counts is the excess "
        "over the floor, whose interval is over halvings of the patients. In bold, those that leave out 0.",
        (found.drawn("excess.svg", figures.excesses(table), "Excess of each measure over its floor."),),
        (
            table_of("fidelity", f"Means over {found.asked['halvings']} halvings.", table, columns, table["apart"]),
            table_of(
                "kernel",
                "Kernel distance of the whole sets, unbiased at any size, with its 95 % interval over patients.",
                kernel,
                ("taken_of", "value", "interval"),
                kernel["low"] > 0,
            ),
        ),
    )
    drawn = figures.spectrum_and_histogram(found.table("spectrum"), found.table("histogram"), unit=found.asked["unit"])
    about = "Power by spatial frequency, and shares of intensities, with 95 % intervals over patients, or over samples."
    yield Section("Spectrum and intensities", pictures=(found.drawn("spectrum.svg", drawn, about),))
    plates = []
    for name in ("real", "synthetic"):
        heading = f"{name.upper()} · {found.asked['window']} window"
        drawn = plate(found.grey(name), heading=heading, synthetic=name == "synthetic")
        plates.append(found.drawn(f"{name}.png", drawn, f"{name.upper()}, evenly taken from the set."))
    yield Section("Real beside synthetic", pictures=tuple(plates), beside=True)


def _radiomics(found: FinishedAssessment) -> Iterator[Section]:
    table = found.table("features")
    asked = found.asked["radiomics"]
    settings = asked["settings"]
    resampling = "not resampled" if settings["resample_mm"] is None else f"at {settings['resample_mm']} mm"
    real, synthetic = found.table("values_real"), found.table("values_synthetic")
    distances = table.set_index("feature")["ks"].reindex(real.columns).tolist()
    ranked = table.sort_values("ks", kind="stable")
    shown = pd.concat([ranked[:SHOWN_FEATURES], ranked[-SHOWN_FEATURES:]])
    columns = ("feature", "ks", "ks_halved", "ks_floor", "p_value", "p_bh", "p_patient_bh")
    drawn = figures.feature_distributions(real, synthetic, distances)
    yield Section(
        "93 features",
        f"pyradiomics with a bin width of {settings['bin_width']:g} {found.asked['unit']}, {resampling}; masks: "
        f"{asked['masks']} ({asked['masks_mean']}), alike for both sets.",
        (
            found.drawn("features.svg", figures.feature_distances(table), "Distance of each feature, by family."),
            found.drawn("distributions.svg", drawn, "The three closest features (above), the three farthest (below)."),
        ),
        (
            table_of(
                "features",
                f"The {SHOWN_FEATURES} closest and the {SHOWN_FEATURES} farthest features. p value takes lesions as "
                "independent, p patient draws one of each; bh is corrected for all features (Holm's is in the file).",
                shown,
                columns,
            ),
        ),
    )
    yield from _separability(found)


def _separability(found: FinishedAssessment) -> Iterator[Section]:
    auc, roc = with_intervals(found.table("auc")), found.table("roc")
    bands = {
        str(name): {str(judge): band for judge, band in of.groupby("judge", sort=False)}
        for name, of in roc.groupby("taken_of", sort=False)
    }
    yield Section(
        "Told apart by a classifier",
        "Folds are by patient. The floor is the mean AUC of telling one half of the patients from the other.",
        (found.drawn("roc.svg", figures.judges(bands), "ROC curves with bands over patients."),),
        (
            table_of(
                "auc",
                "AUC of telling samples from held-out patients; ½ is chance, 1 is always right.",
                auc,
                ("judge", "taken_of", "estimate", "interval", "floor"),
                auc["low"] > CHANCE,
            ),
        ),
    )


def _memorisation(found: FinishedAssessment) -> Iterator[Section]:
    sets, attacks = found.table("sets"), with_intervals(found.table("attacks"))
    yield Section(
        "How near samples come to training patients",
        "A ratio of 1: as near to the training patients as to others. Real lesions are asked the same, their own "
        "patient left out. Copies lie far on the left.",
        (found.drawn("ratios.svg", figures.ratios(found.table("ratios")), "Ratios of samples and of real lesions."),),
        (
            table_of(
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
        (found.drawn("pairs.png", figures.pairs(pairs, captions), "SYNTHETIC on the left, REAL on the right."),),
    )
    yield Section(
        "Who was trained on?",
        "An attacker who holds a patient's image guesses from the samples, or from the discriminator, whether that "
        "patient was in the training set.",
        tables=(
            table_of(
                "attacks",
                "AUC of the guess, with its 95 % interval over patients; ½ says that nothing leaks.",
                attacks,
                ("attack", "auc", "interval"),
                attacks["low"] > CHANCE,
            ),
        ),
    )


def _embedding(found: FinishedAssessment) -> Iterator[Section]:
    table, trust = found.table("embedding"), found.table("trust")
    drawn = embeddings(table, across="taken_of")
    yield Section(
        "Real and synthetic lesions on a plane",
        "Colour is the class if there are several, form the origin. Who is near in a picture is near in features as "
        "far as its trustworthiness says; distances between islands, their sizes and densities mean nothing.",
        (found.drawn("embedding.svg", drawn, "Features on a plane, by class and origin."),),
        (
            table_of(
                "trust",
                f"Of each patch's {found.asked['neighbours']} nearest: how far those near in the picture are near in "
                "truth (1: all), and the share of them that is kept.",
                trust,
                ("taken_of", "layout", "trustworthiness", "neighbours_kept"),
            ),
        ),
    )


SECTIONS: dict[str, Callable[[FinishedAssessment], Iterator[Section]]] = {
    "fidelity": _fidelity,
    "radiomics": _radiomics,
    "separability": _separability,
    "memorisation": _memorisation,
    "embedding": _embedding,
    "readers": reader_sections,
}
