"""What the page of a reader study shows, from the tables that `lesionforge.reader_study.outcome` left."""

from collections.abc import Iterator

from lesionforge.report import reader_figures as figures
from lesionforge.report.finished_assessment import FinishedAssessment
from lesionforge.report.sections import Section, Table, table_of, with_intervals

CHANCE = 0.5


def reader_sections(found: FinishedAssessment) -> Iterator[Section]:
    """Could they tell, do they agree, how does a classifier do, and how long did they look."""
    turing, confidence = found.table("turing"), found.table("confidence")
    columns = ("reader", "metric", "estimate", "interval", "items")
    yield Section(
        "Could readers tell?",
        "Positive is real. A reader who cannot tell has an AUC and an accuracy of ½, and calls as many synthetic "
        "lesions real as real ones. A reader's interval is over lesions, the average's over readers as well.",
        (
            found.drawn(
                "readers.svg",
                figures.reader_intervals(turing, found.table("published")),
                "Each reader (dots, with 95 % intervals) and the papers' readers (diamonds), who saw other lesions.",
            ),
            found.drawn("roc.svg", figures.reader_curves(confidence), "ROC curves of the readers."),
            found.drawn("confidence.svg", figures.confidence_bars(confidence), "How sure readers were."),
        ),
        (
            table_of("turing", "In bold: AUCs whose interval leaves out ½.", with_intervals(turing), columns,
                     (turing["metric"] == "auc") & ((turing["low"] > CHANCE) | (turing["high"] < CHANCE))),
        ),
    )  # fmt: skip
    if found.has("judges"):
        yield Section("Beside a classifier", _JUDGES, tables=(_judges(found),))
    if found.has("agreement"):
        agreement = with_intervals(found.table("agreement"))
        agreement = agreement[agreement["coefficient"].isin(("cohen", "fleiss"))]
        caption = "Kappas (Cohen's of pairs, Fleiss' of all): 1 is full agreement, 0 what guesses would give."
        compared = ("of", "first", "second", "coefficient", "estimate", "interval")
        yield Section("Do they agree?", tables=(table_of("agreement", caption, agreement, compared),))
    if found.has("classes"):
        classes = with_intervals(found.table("classes"))
        caption = "Share of lesions whose class was named rightly."
        shown = ("reader", "origin", "estimate", "interval", "items")
        yield Section("Classes", tables=(table_of("classes", caption, classes, shown),))
    times = found.table("times")
    yield Section(
        "Time",
        pictures=(found.drawn("times.svg", figures.reading_times(times), "Time on the screen, with quartiles."),),
    )
    tells = with_intervals(found.table("tells"), "")
    yield Section(
        "What numbers would tell",
        "Readers see pictures. This is how well a single number of an item's pixels would sort the items; what is "
        "clear could be read off by whoever opens the browser's tools.",
        tables=(
            table_of("tells", "In bold: clear.", tells, ("number", "auc", "interval"), tells["clear"].astype(bool)),
        ),
    )


_JUDGES = (
    "A logistic regression in four folds by patient judges the pixels that readers saw. The difference is the average "
    "reader's AUC minus its own, for other readers and other patients (multi-reader, multi-case)."
)


def _judges(found: FinishedAssessment) -> Table:
    table = with_intervals(
        with_intervals(found.table("judges")).rename(columns={"interval": "auc_interval"}), "difference_"
    )
    columns = ("taken_of", "estimate", "auc_interval", "difference", "interval", "p_value", "items")
    marked = (table["difference_low"] > 0) | (table["difference_high"] < 0)
    return table_of("judges", "In bold: differences whose interval leaves out 0.", table, columns, marked)
