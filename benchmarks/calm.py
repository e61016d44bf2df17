"""Paper C's table 1: CALM beside other decisions on the same autoencoder's features, published figures beside ours.

    python benchmarks/calm.py --data DATA --passes 20 --out calm.json

Ghosal et al. 2020 (CALM) tell nodules of LIDC from patches without one, classes of equal size, patches split at random
(so that a patient may be on both sides), a GAN's patches added. Here: LUNA16's candidates, nodules against as many
candidates that are none and were mistaken for one, so a harder question; split by block, which stands in for the
patient; without a GAN. Accuracy, precision, recall and F1 of the nodules at probability one half; AUC with a 95 %
interval over blocks. The autoencoder is trained once a fold; CALM, the network, logistic regression and the SVM see the
same features.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.metrics import accuracy_score, precision_recall_fscore_support

from classifiers import FOLDS, SEED, Cost, candidates, folds, predict, scored
from lesionforge.classifiers.decisions.calm import CALM
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.decisions.svm import SVM
from lesionforge.classifiers.methods.calm_cnn import CalmCNN
from lesionforge.classifiers.methods.convolutional_autoencoder import ConvolutionalAutoencoder
from lesionforge.classifiers.methods.fully_connected_autoencoder import FullyConnectedAutoencoder
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.progress import SILENT, Progress, TerminalProgress
from lesionforge.storage import write_json

PUBLISHED = {  # accuracy, precision, recall, F1, AUC
    "CAE + CALM": (0.953, 0.949, 0.95, 0.95, 0.97),
    "CAE + CALM, signed distance": None,
    "CAE + NN": (0.942, 0.946, 0.935, 0.935, 0.93),
    "CAE + LR": (0.903, 0.92, 0.92, 0.92, 0.91),
    "CAE + linear SVM": (0.901, 0.92, 0.92, 0.92, 0.90),
    "AE": (0.77, 0.76, 0.77, 0.77, 0.83),
    "CNN": (0.89, 0.88, 0.90, 0.89, 0.95),
}
DECISIONS = {
    "CAE + CALM": CALM(),
    "CAE + CALM, signed distance": CALM(distance="signed", max_iterations=30),  # as printed: need not settle
    "CAE + NN": Network(),
    "CAE + LR": Logistic(),
    "CAE + linear SVM": SVM(kernel="linear"),
}


def scores_of_all(
    passes: int, cnn_images: int, splits: list[Any], progress: Progress
) -> tuple[dict[str, tuple[Predictions, Cost]], list[dict[str, Any]]]:
    """Predictions of every model, and how CALM went in each fold."""
    convolutional = ConvolutionalAutoencoder(window="u8", passes=passes, decision=Logistic())
    others = {
        "AE": FullyConnectedAutoencoder(window="u8", passes=passes),
        "CNN": CalmCNN(window="u8", max_images=cnn_images),
    }
    parts: dict[str, list[Predictions]] = {name: [] for name in PUBLISHED}
    costs = {name: Cost() for name in PUBLISHED}
    rounds: list[dict[str, Any]] = []
    for train, test, told in splits:
        start = time.process_time()
        shared = convolutional.fit(train, scored_on=test, seed=SEED, progress=progress)
        shared_s = time.process_time() - start
        for name in PUBLISHED:
            start = time.process_time()
            if name in DECISIONS:
                fitted = shared.with_decision(DECISIONS[name], train, seed=SEED, progress=progress)
                costs[name].fit_s += shared_s
            else:
                fitted = others[name].fit(train, scored_on=test, seed=SEED, progress=progress)
            costs[name].fit_s += time.process_time() - start
            parts[name].append(predict(fitted, test, told, costs[name]))
            if "CALM" in name:
                rounds += fitted.history.assign(fold=told["fold"], model=name).to_dict("records")
    return {name: (concatenate(parts[name]), costs[name]) for name in PUBLISHED}, rounds


def of_nodules(predictions: Predictions) -> tuple[float, ...]:
    """Accuracy, precision, recall and F1."""
    truth, called = predictions.truth == 0, predictions.predicted == 0  # nodule, other
    precision, recall, f1, _ = precision_recall_fscore_support(truth, called, average="binary")
    return accuracy_score(truth, called), precision, recall, f1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder that holds luna16_candidates")
    parser.add_argument("--passes", type=int, default=150, help="times that each batch is shown (published: 150)")
    parser.add_argument("--cnn-images", type=int, default=60_000, help="images shown to the CNN")
    parser.add_argument("--folds", type=int, default=FOLDS, help="test on the first so many folds only: quicker")
    parser.add_argument("--out", type=Path, help="write the numbers, and CALM's rounds, as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    progress = SILENT if arguments.quiet else TerminalProgress()
    patches = candidates(arguments.data)
    splits = list(folds(patches))[: arguments.folds]
    found, rounds = scores_of_all(arguments.passes, arguments.cnn_images, splits, progress)
    tested = sum(len(test) for _, test, _ in splits)
    print(f"\n{len(patches)} candidates, {tested} tested in {len(splits)} of {FOLDS} folds; published in brackets.\n")
    print("| model | accuracy | precision | recall | F1 | AUC (95 %) |\n|---|---:|---:|---:|---:|---:|")
    results = {}
    for name, published in PUBLISHED.items():
        predictions, cost = found[name]
        figures = scored(predictions, cost)
        results[name] = figures | {"of_nodules": of_nodules(predictions), "published": published}
        cells = [f"{ours:.3f}" for ours in (*of_nodules(predictions), figures["auc"])]
        cells[-1] += " ({:.3f}–{:.3f})".format(*figures["interval"])
        if published:
            cells = [f"{ours} [{theirs:.3g}]" for ours, theirs in zip(cells, published, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |")
    if arguments.out:
        told = {"passes": arguments.passes, "cnn_images": arguments.cnn_images, "folds": len(splits)}
        write_json(arguments.out, told | {"results": results, "calm_rounds": rounds})


if __name__ == "__main__":
    main()
