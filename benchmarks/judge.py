"""Is the judge right? Simulated experiments whose truth is known, and what the statistics said of them.

python benchmarks/judge.py                      # minutes on one core; --experiments 200 for a look

Every number is a share of simulated experiments with its 95 % interval. "As it should" asks that intervals cover
95 ± 1.5 %, that a wrong "helps" comes up in at most 5 % and that tests at 5 % reject a true null in at most 6.5 %;
"within chance" says that the share's interval reaches there, "conservative" that intervals cover more than they
promise. What is called naive treats every lesion as a patient, folds as independent or one training as the only one
possible: it is there to go wrong.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import binomtest, norm, ttest_1samp

from lesionforge.evaluation.agreement import agreement
from lesionforge.evaluation.bootstrap import PatientDraws
from lesionforge.evaluation.delong import auc_difference, auc_interval
from lesionforge.evaluation.estimate import student
from lesionforge.evaluation.multireader import compare_readers
from lesionforge.evaluation.paired_tests import corrected_resampled_t, fold_differences, mcnemar, permutation_p_value
from lesionforge.evaluation.power import patients_needed, power_to_see
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.proportions import share
from lesionforge.evaluation.score_intervals import calibration_interval
from lesionforge.evaluation.scores import calibration_error, measure, scores_of
from lesionforge.evaluation.statistics import compare, score_table

RESAMPLES = 400
KAPPAS = {"cohen": "Cohen's kappa", "fleiss": "Fleiss' kappa", "gwet": "Gwet's AC1"}


@dataclass(frozen=True)
class World:
    """Patients with lesions of one class, or of both; scores are normal, so AUCs are known.

    A score is separation · class + effects of patient and lesion that both classifiers see alike (spread, 0.7) + effect
    of the patient on this classifier (quirk) + noise (0.7); ``luck`` is the spread of the separation between trainings.
    """

    patients: int = 60
    lesions: int = 1
    positives: float = 0.5
    mixed: bool = False
    spread: float = 0.0
    quirk: float = 0.0
    separation: float = 1.5
    gain: float = 0.0
    luck: float = 0.0
    folds: int = 1
    repeats: int = 1

    def draw(self, seed: int, classifiers: int = 2) -> list[Predictions]:
        """What each classifier says of the same patients; the second has the gain."""
        rng = np.random.default_rng(seed)
        patient = np.repeat(np.arange(self.patients), self.lesions)
        rare = round(self.patients * self.positives)
        truth = (rng.permutation(self.patients) < rare)[patient]
        if self.mixed:
            truth = rng.random(len(patient)) < self.positives
        common = self.spread * rng.normal(size=self.patients)[patient] + 0.7 * rng.normal(size=len(patient))
        drawn = []
        for classifier in range(classifiers):
            alone = common + self.quirk * rng.normal(size=self.patients)[patient]
            parts = []
            for repeat in range(self.repeats):
                # The same splits for both classifiers, stratified as `splits` makes them.
                order = np.argsort(np.random.default_rng([seed, repeat]).permutation(self.patients))
                fold = (order % self.folds)[patient]
                luck = self.luck * rng.normal(size=self.folds)[fold]
                separation = self.separation + self.gain * classifier + luck
                parts.append((separation * truth + alone + 0.7 * rng.normal(size=len(patient)), fold))
            drawn.append(self._predictions(patient, truth, parts))
        return drawn

    def auc(self, gain: float = 0.0) -> float:
        """AUC of patients and trainings without end."""
        return float(
            norm.cdf((self.separation + gain) / np.sqrt(2 * (self.spread**2 + self.quirk**2 + 0.98) + self.luck**2))
        )

    def _predictions(self, patient: np.ndarray, truth: np.ndarray, parts: list) -> Predictions:
        positive = np.concatenate([expit(score - self.separation / 2) for score, _ in parts])
        digests = np.array([f"{number:020x}" for number in range(self.patients)])
        return Predictions(
            ("benign", "malignant"),
            truth=np.tile(truth.astype(np.int64), self.repeats),
            probability=np.stack([1 - positive, positive], axis=1),
            patient=np.tile(digests[patient], self.repeats),
            row=np.tile(np.arange(len(patient)), self.repeats),
            fold=np.concatenate([fold for _, fold in parts]),
            repeat=np.repeat(np.arange(self.repeats), len(patient)),
        )


Answers = dict[str, bool]
PLAIN = World()
CLUSTERED = World(lesions=4, spread=1.0, quirk=0.7, folds=3)
MIXED = World(lesions=4, spread=1.0, quirk=0.7, mixed=True)
RARE = World(patients=120, lesions=2, spread=0.8, quirk=0.6, positives=0.15, separation=2.5)
FEW = World(patients=30, lesions=2, spread=0.8, quirk=0.6)
LUCKY = World(patients=100, lesions=2, spread=0.8, quirk=0.6, folds=3, luck=0.4)
PLAIN_WORDS, CLUSTERED_WORDS = "60 patients, a lesion each", "60 patients × 4 lesions, 3 folds"
MIXED_WORDS, RARE_WORDS = "60 patients × 4 lesions of both classes", "120 patients × 2, 18 malignant"
FEW_WORDS, AVERAGE_PRECISION = "30 patients × 2", "average_precision [malignant]"
WORLDS = {
    PLAIN_WORDS: PLAIN,
    CLUSTERED_WORDS: CLUSTERED,
    MIXED_WORDS: MIXED,
    RARE_WORDS: RARE,
    FEW_WORDS: FEW,
}


def every_lesion_a_patient(predictions: Predictions) -> Predictions:
    digests = np.array([f"{row:020x}" for row in range(len(predictions))])
    return replace(predictions, patient=digests)


def verdicts(world: World, seed: int, metric: str = "auc", *, naive: bool = False) -> Answers:
    drawn = [every_lesion_a_patient(each) if naive else each for each in world.draw(seed)]
    found = compare(*drawn, metric=metric, resamples=RESAMPLES, seed=seed)
    return {"says helps": found.verdict == "helps", "says hurts": found.verdict == "hurts"}


def score_coverage(world: World, truth: dict[str, float], seed: int) -> Answers:
    (drawn,) = world.draw(seed, classifiers=1)
    table = score_table(drawn, resamples=RESAMPLES, seed=seed)
    return {row.metric: bool(row.low <= truth[row.metric] <= row.high) for row in table.itertuples()}


def difference_coverage(world: World, metric: str, seed: int) -> Answers:
    """Intervals of a difference that is 0: Student's, which comparisons have, and BCa's, from the same resamples."""
    first, second = world.draw(seed)
    draws = PatientDraws.of(first, resamples=RESAMPLES, seed=seed)

    def difference(weights: np.ndarray) -> dict[str, np.ndarray]:
        return {"": scores_of(second)[metric](weights) - scores_of(first)[metric](weights)}

    low, high = draws.interval(draws.apply(difference)[""])
    found = compare(first, second, metric=metric, resamples=RESAMPLES, seed=seed)
    student, name = found.low <= 0 <= found.high, metric.partition(" [")[0]
    return {f"difference, {name}": student, "the same by BCa, naive": low <= 0 <= high}


def calibration_coverage(seed: int) -> Answers:
    """A calibrated classifier, whose error is 0: the bound, and Student's interval lowered by the bootstrap's bias."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(60), 4)
    chance = rng.uniform(0.02, 0.98, size=len(patient))
    drawn = Predictions.of(
        ("benign", "malignant"),
        labels=np.where(rng.random(len(patient)) < chance, "malignant", "benign"),
        probability=np.stack([1 - chance, chance], axis=1),
        patients=patient.astype(str),
    )
    draws = PatientDraws.of(drawn, resamples=RESAMPLES, seed=seed)
    score = draws.apply(lambda weights: {"": calibration_error(drawn, weights)})[""]
    low, _ = calibration_interval(draws, drawn, score, level=0.95)
    unbiased = 2 * score.estimate - score.values.mean()
    return {
        "calibration_error, truly 0": low <= 0,
        "the same by Student's, naive": student(unbiased, *draws.error(score)).low <= 0,
    }


def auc_coverage(world: World, seed: int, *, naive: bool = False) -> Answers:
    first, second = (every_lesion_a_patient(each) if naive else each for each in world.draw(seed))
    alone, paired = auc_interval(first), auc_difference(first, second)
    gain = world.auc(world.gain) - world.auc()
    answers = {"AUC": alone.low <= world.auc() <= alone.high}
    return answers | {"difference of AUCs": paired.low <= gain <= paired.high}


def share_coverage(seed: int, *, naive: bool = False) -> Answers:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(50), 4)
    odds = 1.2 * rng.normal(size=50)[patient] + 1.0
    truth = float(expit(1.2 * norm.ppf((np.arange(2000) + 0.5) / 2000) + 1.0).mean())
    found = share(rng.random(200) < expit(odds), patients=None if naive else patient)
    return {"share of rows": found.low <= truth <= found.high}


def kappa_coverage(seed: int, *, naive: bool = False) -> Answers:
    """Two readers who are sure of a case or guess, three classes; sureness is a patient's. Kappas are known."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(50), 3)
    habit = np.array([0.5, 0.3, 0.2])
    truth = rng.choice(3, size=150, p=habit)
    sure = rng.beta(1.2, 0.8, size=50)[patient]
    ratings = np.where(rng.random((2, 150)) < sure, truth, rng.choice(3, size=(2, 150), p=habit))
    mean_square = 1.2 * 2.2 / (2.0 * 3.0)
    chance = {"cohen": (habit**2).sum(), "fleiss": (habit**2).sum(), "gwet": (habit * (1 - habit)).sum() / 2}
    observed = mean_square + (1 - mean_square) * chance["cohen"]
    answers = {}
    for kind, expected in chance.items():
        found = agreement(ratings, classes=3, chance=kind, patients=None if naive else patient)
        answers[KAPPAS[kind]] = bool(found.low <= (observed - expected) / (1 - expected) <= found.high)
    return answers


def reader_answers(seed: int, *, readers: int = 4, against_classifier: bool = False) -> Answers:
    """Readers with skills of their own, cases that are hard for all; no difference between the two."""
    rng = np.random.default_rng(seed)
    truth = np.arange(100) < 50
    case = rng.normal(size=100)
    skill = 1.5 + 0.3 * rng.normal(size=(readers, 1))

    def read(rows: int, separation: np.ndarray | float) -> np.ndarray:
        return separation * truth + 0.7 * case + 0.7 * rng.normal(size=(rows, 100))

    first = read(1, 1.5 / np.sqrt(1 + 0.09 / 1.96)) if against_classifier else read(readers, skill)
    found = compare_readers(first, read(readers, skill), truth)
    return {"difference of readers": found.low <= 0 <= found.high}


def rejections(world: World, seed: int) -> Answers:
    """Tests of a true null on the same experiments: the two classifiers are equally good."""
    first, second = world.draw(seed)
    right = [each.predicted == each.truth for each in (first, second)]
    naive = [every_lesion_a_patient(each) for each in (first, second)]
    return {
        "DeLong by patient": auc_difference(first, second).p_value < 0.05,
        "naive DeLong": auc_difference(*naive).p_value < 0.05,
        "permutation by patient": permutation_p_value(first, second, permutations=RESAMPLES, seed=seed) < 0.05,
        "McNemar by patient": mcnemar(*right, patients=first.patient).p_value < 0.05,
        "naive McNemar": mcnemar(*right).p_value < 0.05,
    }


def resampled_t_rejections(seed: int) -> Answers:
    """Networks differ by the luck of what they were trained on, which overlapping training sets share."""
    world = replace(LUCKY, repeats=5)
    differences = fold_differences(*world.draw(seed))
    corrected = corrected_resampled_t(differences, test_to_train=1 / (world.folds - 1))
    return {
        "Nadeau–Bengio t": corrected.p_value < 0.05,
        "naive t over folds": ttest_1samp(differences, 0).pvalue < 0.05,
    }


def verdict_section(count: int) -> None:
    print("Wrong verdicts where nothing differs (AUC if not said)")
    lucky = {
        "lucky trainings, 3 repeats": replace(LUCKY, repeats=3),
        "lucky trainings, 5 repeats": replace(LUCKY, repeats=5),
        "lucky trainings, 1 repeat (naive of training)": LUCKY,
    }
    for what, world in (WORLDS | lucky).items():
        report(what, count, partial(verdicts, world), at_most(0.05))
    for metric in list(scores_of(PLAIN.draw(0)[0]))[1:]:
        report(f"{CLUSTERED_WORDS}, {metric}", count, partial(verdicts, CLUSTERED, metric=metric), at_most(0.05))
    for what in (PLAIN_WORDS, MIXED_WORDS, RARE_WORDS, FEW_WORDS):
        for metric in ("accuracy", AVERAGE_PRECISION):
            report(f"{what}, {metric}", count, partial(verdicts, WORLDS[what], metric=metric), at_most(0.05))
    report(f"naive: {CLUSTERED_WORDS}", count, partial(verdicts, CLUSTERED, naive=True), at_most(0.05))


def coverage_section(count: int) -> None:
    print("Coverage of 95 % intervals")
    for what, world in WORLDS.items():
        large = replace(world, patients=40_000 // world.lesions, folds=1).draw(0, classifiers=1)[0]
        truth = {name: float(value) for name, value in measure(large).items()} | {"auc": world.auc()}
        report(what, count, partial(score_coverage, world, truth), covers)
    for what, metric in ((RARE_WORDS, "auc"), (PLAIN_WORDS, AVERAGE_PRECISION), (CLUSTERED_WORDS, AVERAGE_PRECISION)):
        report(what, count, partial(difference_coverage, WORLDS[what], metric), covers)
    report("60 patients × 4 lesions, calibrated", count, calibration_coverage, covers)
    for what, world in WORLDS.items():
        report(f"DeLong: {what}", count, partial(auc_coverage, replace(world, gain=0.5)), covers)
    report(f"DeLong, naive: {CLUSTERED_WORDS}", count, partial(auc_coverage, CLUSTERED, naive=True), covers)
    report("Wilson with design effect, 50 × 4", count, share_coverage, covers)
    report("Wilson, naive: 50 × 4", count, partial(share_coverage, naive=True), covers)
    report("50 patients × 3 cases, 2 readers", count, kappa_coverage, covers)
    report("naive: 50 patients × 3 cases, 2 readers", count, partial(kappa_coverage, naive=True), covers)
    report("4 readers, two modalities", count, reader_answers, covers)
    report("6 readers, a classifier", count, partial(reader_answers, readers=6, against_classifier=True), covers)


def rejection_section(count: int) -> None:
    print("Tests at 5 % where nothing differs")
    report(CLUSTERED_WORDS, count, partial(rejections, CLUSTERED), at_most(0.065))
    report("lucky trainings, 3 folds, 5 repeats", count, resampled_t_rejections, at_most(0.065))


def power_section(count: int) -> None:
    print(f"Power: a true gain in AUC; {CLUSTERED_WORDS}; forecast by one experiment without a gain")
    pilots = [compare(*CLUSTERED.draw(seed), resamples=RESAMPLES, seed=seed) for seed in range(50)]
    print("    gain | says helps          | forecast (median) | patients for 80 % (median)")
    for step in (0.25, 0.5, 0.75, 1.0):
        world = replace(CLUSTERED, gain=step)
        ((_, helps), _) = shares_of(partial(verdicts, world), count)
        low, high = binomtest(helps, count).proportion_ci(method="wilson")
        gain = world.auc(step) - world.auc()
        forecast = np.median([power_to_see(gain, pilot, patients=60) for pilot in pilots])
        needed = np.median([patients_needed(gain, pilot) for pilot in pilots])
        found = f"{100 * helps / count:5.1f} % ({100 * low:.1f}–{100 * high:.1f})"
        print(f"  {gain:+.3f} | {found:19} | {100 * forecast:15.1f} % | {needed:.0f}", flush=True)


SECTIONS = {
    "verdicts": verdict_section,
    "coverage": coverage_section,
    "tests": rejection_section,
    "power": power_section,
}


def shares_of(answer: Callable[[int], Answers], experiments: int) -> list[tuple[str, int]]:
    counts = pd.DataFrame([answer(seed=seed) for seed in range(experiments)]).sum()
    return [(str(name), int(count)) for name, count in counts.items()]


def report(what: str, experiments: int, answer: Callable[..., Answers], aim: tuple[float, float]) -> None:
    for name, count in shares_of(answer, experiments):
        low, high = binomtest(count, experiments).proportion_ci(method="wilson")
        if aim[0] <= count / experiments <= aim[1]:
            mark = "as it should"
        elif low <= aim[1] and high >= aim[0]:
            mark = "within chance"
        else:
            mark = "wrong, being naive" if "naive" in what + name else "conservative" if safe(low, aim) else "WRONG"
        found = f"{100 * count / experiments:5.1f} % ({100 * low:.1f}–{100 * high:.1f})"
        print(f"{what:65} | {name:29} | {found:20} | {mark}", flush=True)


covers = (0.935, 0.965)


def at_most(share_of_experiments: float) -> tuple[float, float]:
    return 0.0, share_of_experiments


def safe(low: float, aim: tuple[float, float]) -> bool:
    """Whether an interval covers too much, which costs power but misleads nobody."""
    return aim == covers and low > aim[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, default=1000)
    parser.add_argument("--only", choices=SECTIONS, help="one of the four tables")
    asked = parser.parse_args()
    start = time.perf_counter()
    for name, section in SECTIONS.items():
        if asked.only in (None, name):
            section(asked.experiments)
            print()
    print(f"{asked.experiments} experiments a row, {RESAMPLES} resamples; {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
