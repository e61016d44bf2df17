"""What came of a study: tables, sentences and a page, all from the answers and the manifest."""

import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation.agreement import NOT_RATED, Weights
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.evaluation.proportions import share
from lesionforge.evaluation.readers import AVERAGE, agreement_table, confidence_table, turing_table
from lesionforge.progress import SILENT, Progress
from lesionforge.reader_study.judges import judge_table
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.published import published
from lesionforge.reader_study.readings import SEVERAL, Readings, answer_table, readings
from lesionforge.reader_study.study import Study
from lesionforge.report.assessment_page import write_assessment_report
from lesionforge.storage import new_file, refuse_existing

POOLED = "all answers"
TRUTH = "truth"
METRICS = 4  # rows of a reader in `turing_table`


def write_outcome(
    ledger: Ledger,
    out: Path | str,
    *,
    radiomics: bool = False,
    command: str = "",
    progress: Progress = SILENT,
) -> Path:
    """Write a run's folder with tables, figures and the page, and return the page's path.

    Raises
    ------
    LesionForgeError
        Nobody has read enough, or ``radiomics`` is asked for and its extra is missing.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    refuse_existing(Path(out))
    start = time.monotonic()
    found = outcome(ledger, radiomics=radiomics, progress=progress)
    found.write(out, command=command, seconds=time.monotonic() - start)
    for sentence in found.sentences:
        progress.say(sentence)
    return write_assessment_report(out)


def outcome(ledger: Ledger, *, radiomics: bool = False, progress: Progress = SILENT) -> Assessment:
    """What readers could tell, how far they agree, and how a classifier does on the same items."""
    study, answers = ledger.study, answer_table(ledger)
    if not len(answers):
        raise LesionForgeError("results need answers, but nobody has given any yet.")
    known = readings(answers, study)
    able = [number for number in range(len(known.readers)) if known.enough(known.ratings[number] != NOT_RATED)]
    if not able:
        raise LesionForgeError(
            "results need a reader who has read lesions of two patients of each origin or more, but there is none yet."
        )
    warnings = list(_warnings(ledger, [known.readers[number] for number in able]))
    known = known.of(able)
    tables = {"turing": _turing(known, study), "confidence": _confidence(known, study), "times": _times(answers)}
    agreements = _agreements(known, study)
    if len(agreements):
        tables["agreement"] = agreements
    if study.design.ask_class:
        tables["classes"] = _class_table(known)
    judged = judge_table(known, study, radiomics=radiomics, progress=progress)
    if len(judged):
        tables["judges"] = judged
    tables |= {"published": published(), "tells": pd.DataFrame(study.manifest["tells"]), "answers": answers}
    return Assessment(
        "readers",
        study.design.title,
        _asked(ledger, known),
        tuple(_sentences(tables)),
        tables,
        results={row["metric"]: row["estimate"] for row in _main(tables["turing"]).to_dict("records")},
        warnings=tuple(warnings),
    )


def write_answers(ledger: Ledger, out: Path) -> None:
    """Write every answer with its truth, as CSV or JSON as the file's name ends."""
    table = answer_table(ledger)
    if out.suffix not in {".csv", ".json"}:
        raise StorageError(f"answers are written as .csv or .json, but {out.name!r} came: end the name in one of them.")
    with new_file(out) as partial:
        if out.suffix == ".csv":
            table.map(_plain).to_csv(partial, index=False, lineterminator="\n")
        else:
            table.to_json(partial, orient="records", indent=1, force_ascii=False)


def _plain(value: Any) -> Any:
    """Text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _turing(known: Readings, study: Study) -> pd.DataFrame:
    """`turing_table` of each reader on their own items, and of all together where that can be said."""
    words = study.design.words

    def of(ratings: NDArray[np.int64], rows: NDArray[np.bool_], names: Sequence[str]) -> pd.DataFrame:
        made = turing_table(
            ratings[:, rows], known.real[rows], readers=names, scale=words, patients=known.patients[rows]
        )
        return made.assign(items=int(rows.sum()))

    rated = known.ratings != NOT_RATED
    single = [of(known.ratings[[at]], rated[at], [name]) for at, name in enumerate(known.readers)]
    together = []
    if len(known.readers) > 1 and known.enough(known.in_common):
        everyone = of(known.ratings, known.in_common, known.readers)
        together = [everyone[everyone["reader"] == AVERAGE]]
    elif len(known.readers) > 1 and (rated.sum(axis=0) == 1).all():  # divided among them, as in Wang et al. 2022
        together = [of(known.ratings.max(axis=0)[None], rated.any(axis=0), [POOLED])]
    return pd.concat([*single, *together], ignore_index=True)


def _confidence(known: Readings, study: Study) -> pd.DataFrame:
    parts = []
    for at, name in enumerate(known.readers):
        rows = known.ratings[at] != NOT_RATED
        parts.append(
            confidence_table(known.ratings[[at]][:, rows], known.real[rows], readers=[name], scale=study.design.words)
        )
    return pd.concat(parts, ignore_index=True)


def _agreements(known: Readings, study: Study) -> pd.DataFrame:
    """Between readers, of each with themselves, and in classes; column ``of`` says in what."""
    levels = len(study.design.words)
    weights: Weights = "linear" if levels > 2 else "identity"
    parts = [_between(known, known.ratings, known.readers, levels, weights).assign(of="rating")]
    if levels > 2:
        halves = np.where(known.ratings == NOT_RATED, NOT_RATED, known.ratings >= levels / 2)
        parts.append(_between(known, halves, known.readers, 2, "identity").assign(of="called real"))
    for at, name in enumerate(known.readers):
        twice = np.stack([known.ratings[at], known.again[at]])
        parts.append(_between(known, twice, (name, f"{name}, again"), levels, weights).assign(of="the same, twice"))
    if study.design.ask_class and len(study.classes) > 1:
        labels, names = np.vstack([known.labels, known.classes]), (*known.readers, TRUTH)
        parts.append(_between(known, labels, names, len(study.classes), "identity").assign(of="class"))
    return pd.concat(parts, ignore_index=True)


def _between(
    known: Readings, given: NDArray[np.int64], names: Sequence[str], classes: int, weights: Weights
) -> pd.DataFrame:
    """`agreement_table` of all, or of those pairs that have read the same items."""

    def of(rows: Sequence[int]) -> pd.DataFrame:
        picked = [names[row] for row in rows]
        return agreement_table(
            given[list(rows)], readers=picked, classes=classes, weights=weights, patients=known.patients
        )

    pairs = list(combinations(range(len(names)), 2))
    sharing = [pair for pair in pairs if _shared_patients(known, given[list(pair)]) >= SEVERAL]
    if sharing and sharing == pairs:
        return of(range(len(names)))
    return pd.concat([pd.DataFrame(), *map(of, sharing)], ignore_index=True)


def _shared_patients(known: Readings, pair: NDArray[np.int64]) -> int:
    return len(np.unique(known.patients[(pair != NOT_RATED).all(axis=0)]))


def _class_table(known: Readings) -> pd.DataFrame:
    """Share of lesions whose class was named rightly, as in Table 4 of Frid-Adar et al. 2018."""
    rows = []
    for at, name in enumerate(known.readers):
        rated = known.labels[at] != NOT_RATED
        for origin, side in (("real", known.real), ("synthetic", ~known.real), ("all", np.ones_like(known.real))):
            of = rated & side
            found = share(known.labels[at, of] == known.classes[of], patients=known.patients[of])
            rows.append((name, origin, found.value, found.low, found.high, int(of.sum())))
    return pd.DataFrame(rows, columns=["reader", "origin", "estimate", "low", "high", "items"])


def _times(answers: pd.DataFrame) -> pd.DataFrame:
    """Seconds that items were on the screen: quartiles by reader and origin."""
    counted = answers[answers["kind"] == "reading"]
    seconds = counted.assign(
        seconds=counted["active_ms"] / 1000, origin=np.where(counted["origin"] == "real", "real", "synthetic")
    )
    of = seconds.groupby(["reader", "origin"], sort=False)["seconds"]
    return pd.DataFrame(
        {
            "lower_quartile_s": of.quantile(0.25),
            "median_s": of.median(),
            "upper_quartile_s": of.quantile(0.75),
            "items": of.size(),
            "total_min": of.sum() / 60,
        }
    ).reset_index()


def _main(turing: pd.DataFrame) -> pd.DataFrame:
    """The rows that the study is about: of all readers, or of the only one."""
    return turing.tail(METRICS)


def _sentences(tables: dict[str, pd.DataFrame]) -> Iterator[str]:
    main = _main(tables["turing"])
    said = {str(row["metric"]): _text(row) for row in main.to_dict("records")}
    reader = str(main["reader"].iloc[0])
    who = {AVERAGE: "The average reader", POOLED: "All readers together"}.get(reader, reader)
    yield f"{who} tells real from synthetic lesions with an AUC of {said['auc']}; ½ is chance."
    yield (
        f"Accuracy {said['accuracy']}; of the real lesions {said['true_positive_ratio']} are called real, of the "
        f"synthetic ones {said['false_positive_ratio']}."
    )
    if "agreement" in tables:
        rating = tables["agreement"].query("of == 'rating'")
        rows = rating[rating["coefficient"] == ("fleiss" if (rating["first"] == "all").any() else "cohen")]
        if len(rows) == 1:
            yield f"Agreement of readers beyond chance (1: full, 0: as guesses): {_text(rows.iloc[0].to_dict())}."
    for row in tables.get("judges", pd.DataFrame()).to_dict("records"):
        ends = (row["difference"], row["difference_low"], row["difference_high"])
        value, low, high = (f"{end:+.2f}".replace("-", "−") for end in ends)
        yield (
            f"A logistic regression on {row['taken_of']} of the same lesions has an AUC of {row['estimate']:.2f}; the "
            f"average reader's lies {value} ({low} to {high}) from it."
        )


def _text(row: Mapping[Hashable, Any]) -> str:
    return f"{row['estimate']:.2f} ({row['low']:.2f} to {row['high']:.2f})".replace("-", "−")


def _asked(ledger: Ledger, known: Readings) -> dict[str, Any]:
    study = ledger.study
    return study.registration | {
        "window": study.design.window,
        "readers": list(known.readers),
        "real_items": int(known.real.sum()),
        "synthetic_items": int((~known.real).sum()),
        "real_patients": len(np.unique(known.patients[known.real])),
        "generators": sorted({item.origin for item in study.items if not item.real}),
        "closed": ledger.closed,
    }


def _warnings(ledger: Ledger, able: Sequence[str]) -> Iterator[str]:
    yield from ledger.study.manifest["warnings"]
    if not ledger.closed:
        yield "The study is still open: these results are not final, and looking at them must not decide when it ends."
    for reader in ledger.progress():
        if reader["name"] not in able:
            yield f"{reader['name']} has read too little and is left out."
        elif reader["done"] < reader["total"]:
            yield f"{reader['name']} has answered {reader['done']} of {reader['total']}."
