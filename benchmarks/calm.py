"""Paper C's table 1: CALM beside other decisions on the same autoencoder's features, published figures beside ours.

    python benchmarks/calm.py --data DATA --out runs/calm --passes 5

Ghosal et al. 2020 (CALM) tell nodules of LIDC from patches without one, classes of equal size, patches split at random
(so that a patient may be on both sides), a GAN's patches added. Here: LUNA16's candidates, nodules against as many
candidates that are none and were mistaken for one, so a harder question; split by block, which stands in for the
patient; without a GAN. Accuracy, precision, recall and F1 of the nodules at probability one half; AUC with a 95 %
interval over blocks. The autoencoder is trained once a fold; CALM, the network, logistic regression and the SVM see the
same features. Left in the folder ``--out``, fold by fold as they are done, are the predictions and CALM's rounds: a
killed run goes on.
"""

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from classifiers import FOLDS, SEED, candidates, folds
from lesionforge.classifiers.contract import FittedClassifier
from lesionforge.classifiers.decisions.calm import CALM
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.decisions.svm import SVM
from lesionforge.classifiers.methods.calm_cnn import CalmCNN
from lesionforge.classifiers.methods.convolutional_autoencoder import ConvolutionalAutoencoder
from lesionforge.classifiers.methods.fully_connected_autoencoder import FullyConnectedAutoencoder
from lesionforge.data.patches import Patches
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.statistics import compare, score_table
from lesionforge.evaluation.tables import prediction_table_by_regime, read_table, regimes_from_table
from lesionforge.progress import SILENT, Progress, TerminalProgress
from lesionforge.storage import write_text

PUBLISHED = {  # accuracy, precision, recall, F1, AUC
    "CAE + CALM": (0.953, 0.949, 0.95, 0.95, 0.97),
    "CAE + CALM, signed distance": None,
    "CAE + NN": (0.942, 0.946, 0.935, 0.935, 0.93),
    "CAE + LR": (0.903, 0.92, 0.92, 0.92, 0.91),
    "CAE + linear SVM": (0.901, 0.92, 0.92, 0.92, 0.90),
    "AE": (0.77, 0.76, 0.77, 0.77, 0.83),
    "CNN": (0.89, 0.88, 0.90, 0.89, 0.95),
}
FIRST = "CAE + CALM"
DECISIONS = {
    FIRST: CALM(),
    "CAE + CALM, signed distance": CALM(distance="signed", max_iterations=30),  # as printed: need not settle
    "CAE + NN": Network(),
    "CAE + LR": Logistic(),
    "CAE + linear SVM": SVM(kernel="linear"),
}


def fitted_models(
    train: Patches, test: Patches, passes: int, cnn_images: int, progress: Progress
) -> dict[str, FittedClassifier]:
    """Every model, fitted to one fold's training patches."""
    told: dict[str, Any] = {"scored_on": test, "seed": SEED, "progress": progress}
    shared = ConvolutionalAutoencoder(window="u8", passes=passes, decision=Logistic()).fit(train, **told)
    models = {
        name: shared.with_decision(decision, train, seed=SEED, progress=progress)
        for name, decision in DECISIONS.items()
    }
    models["AE"] = FullyConnectedAutoencoder(window="u8", passes=passes).fit(train, **told)
    models["CNN"] = CalmCNN(window="u8", max_images=cnn_images).fit(train, **told)
    return models


def do_fold(predictions: Path, rounds: Path, models: dict[str, FittedClassifier], test: Patches, told: Any) -> None:
    """Leave what the models say of the test patches, and how CALM went."""
    said = {
        name: Predictions.of(model.facts.classes, probability=model.predict_proba(test), **told)
        for name, model in models.items()
    }
    went = {name: model.history for name, model in models.items() if "CALM" in name}
    write_text(rounds, pd.concat(went, names=["model", None]).reset_index("model").to_csv(index=False))
    write_text(predictions, prediction_table_by_regime(said).to_csv(index=False))


def of_nodules(predictions: Predictions) -> tuple[float, ...]:
    """Accuracy, precision, recall and F1."""
    truth, called = predictions.truth == 0, predictions.predicted == 0  # nodule, other
    precision, recall, f1, _ = precision_recall_fscore_support(truth, called, average="binary")
    return accuracy_score(truth, called), precision, recall, f1


def cells_of(predictions: Predictions, published: tuple[float, ...] | None) -> list[str]:
    """Our figures, and behind each the published one."""
    auc = score_table(predictions).set_index("metric").loc["auc"]
    cells = [f"{ours:.3f}" for ours in (*of_nodules(predictions), auc["estimate"])]
    cells[-1] += f" ({auc['low']:.3f}–{auc['high']:.3f})"
    if published is None:
        return cells
    return [f"{ours} [{theirs:.3g}]" for ours, theirs in zip(cells, published, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds luna16_candidates")
    parser.add_argument("--out", type=Path, required=True, help="folder of the predictions, one set of settings each")
    parser.add_argument("--passes", type=int, default=150, help="times that each batch is shown (published: 150)")
    parser.add_argument("--cnn-images", type=int, default=10_000, help="images shown to the CNN")
    parser.add_argument("--folds", type=int, default=FOLDS, help="test on the first so many folds only: quicker")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    progress = SILENT if arguments.quiet else TerminalProgress()
    patches = candidates(arguments.data)
    done = []
    for train, test, told in list(folds(patches))[: arguments.folds]:
        predictions, rounds = (arguments.out / f"{what}-{told['fold']}.csv" for what in ("predictions", "rounds"))
        if not predictions.exists():
            models = fitted_models(train, test, arguments.passes, arguments.cnn_images, progress)
            do_fold(predictions, rounds, models, test, told)
        done.append(regimes_from_table(read_table(predictions)))
    together = {name: concatenate([fold[name] for fold in done]) for name in PUBLISHED}
    tested = len(together["AE"].row)
    print(f"\n{len(patches)} candidates, {tested} tested in {len(done)} of {FOLDS} folds; published in brackets.\n")
    print("| model | accuracy | precision | recall | F1 | AUC (95 %) | CALM's AUC less its own |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, published in PUBLISHED.items():
        lead = compare(together[name], together[FIRST])
        ahead = "" if name == FIRST else f"{lead.difference:+.3f} ({lead.low:+.3f} to {lead.high:+.3f})"
        print(f"| {name} | {' | '.join(cells_of(together[name], published))} | {ahead} |")


if __name__ == "__main__":
    main()
