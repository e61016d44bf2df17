"""What the engine costs and gains: side by side, overhead, kills, reuse, and Ray.

    python benchmarks/engine.py [--only speed overhead kills reuse ray] [--turns 3] [--kills 20] [--out engine.json]

All on the phantom, with tasks of a few seconds, so a full run takes about a quarter of an hour on two cores, *speed*
alone six minutes; its ratios mean something on a quiet machine alone.

speed      An experiment of independent folds with one worker and with two, in turns.
overhead   The same fits in a plain loop over the folds, without tasks, keys, store or logs, beside one worker; in
           seconds of the processor, so that other work on the machine counts little.
kills      Runs whose processes are all killed (SIGKILL) at random moments and begun again, until there were so many
           kills; their tables are compared with those of a run that was left alone.
reuse      The run again in the same store with another classifier: what is trained anew.
ray        The run on a Ray cluster of this machine beside processes of our own: tables are compared.
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.patches import Patches
from lesionforge.data.phantom import phantom_patches
from lesionforge.data.splits import repeated_kfold
from lesionforge.experiments import engine
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.fold import Fold
from lesionforge.experiments.ingredients import Contender, Generation, Regime
from lesionforge.experiments.provenance import Source
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.progress import SILENT
from lesionforge.tasks.perform import using_threads
from lesionforge.tasks.running import Running
from lesionforge.tasks.schedule import Listener

SOURCE = Source("CT phantom", phantom=True)
FOLDS = 8


def patches() -> Patches:
    return phantom_patches("lung", patients=48, seed=1, size=32)


def independent(images: int) -> Experiment:
    """Folds that need nothing of one another, of one fit each."""
    return Experiment(
        protocol="benchmark",
        title="Independent folds",
        classifiers=(Contender("small_cnn", SmallCNN(max_images=images, epochs=10**6, check_every_images=images)),),
        regimes=(Regime("raw"),),
        size=32,
        folds=FOLDS,
    )


def whole() -> Experiment:
    """Generators, samples and classifiers, all of seconds."""
    training = TrainingPlan(images=1_600, checkpoint_every_images=200, grid_every_images=1_600)
    cnn = SmallCNN(max_images=2_000, epochs=10**6, check_every_images=500)
    return Experiment(
        protocol="benchmark",
        title="Kills and reuse",
        generators=(
            Generation("dcgan", DCGAN(batch_size=16, generator_width=64, discriminator_width=16), training, 50),
        ),
        classifiers=(Contender("small_cnn", cnn),),
        regimes=(Regime("raw"), Regime("classic", classic=100), Regime("classic+dcgan", 100, 50)),
        size=32,
        folds=2,
    )


def run(experiment: Experiment, out: Path, how: Running = Running()) -> float:
    """Run it; return the seconds that took."""
    data, start = patches(), time.perf_counter()
    engine.run(experiment, data, out, source=SOURCE, how=how)
    return time.perf_counter() - start


def tables(out: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (out / "tables").glob("*.csv")}


def speed(folder: Path, turns: int) -> dict[str, Any]:
    experiment, alone, together = independent(12_000), [], []
    for turn in range(turns):
        alone.append(run(experiment, folder / f"{turn}-1", Running(1)))
        together.append(run(experiment, folder / f"{turn}-2", Running(2)))
        print(f"turn {turn + 1}: {alone[-1]:.1f} s alone, {together[-1]:.1f} s together", file=sys.stderr, flush=True)
    ratios = [one / two for one, two in zip(alone, together, strict=True)]
    return {
        "one worker, s": statistics.median(alone),
        "two workers, s": statistics.median(together),
        "times as fast": statistics.median(ratios),
        "from": min(ratios),
        "to": max(ratios),
        "same tables": tables(folder / "0-1") == tables(folder / "0-2"),
    }


def overhead(folder: Path, turns: int) -> dict[str, Any]:
    """Tasks alone: what comes after them (intervals, tables) is the same with and without an engine."""
    experiment, plain, ours = independent(12_000), [], []
    for turn in range(turns):
        data, start = patches(), time.process_time()
        with using_threads(1):
            for split in repeated_kfold(data, folds=FOLDS, repeats=1, seed=0, validation=experiment.validation):
                fold = Fold(experiment, data, split)
                fitted = fold.fit(experiment.regimes[0], SILENT)
                fitted.save(folder / f"plain{turn}" / str(split.fold))
                fold.predict(fitted), fold.predict_validation(fitted), fitted.strangeness(fold.test)
        plain.append(time.process_time() - start)
        ours.append(_seconds_of_tasks(experiment, folder / f"engine{turn}"))
    shares = [own / loop - 1 for own, loop in zip(ours, plain, strict=True)]
    return {
        "plain loop, CPU s": statistics.median(plain),
        "engine, CPU s": statistics.median(ours),
        "overhead, %": 100 * statistics.median(shares),
        "from, %": 100 * min(shares),
        "to, %": 100 * max(shares),
    }


def _seconds_of_tasks(experiment: Experiment, out: Path) -> float:
    """From the call of the engine until its last task was done."""
    ends: list[float] = []

    class Ends(Listener):
        def done(self, *_: object) -> None:
            ends.append(time.process_time())

    data, start = patches(), time.process_time()
    engine.run(experiment, data, out, source=SOURCE, listeners=[Ends()])
    return ends[-1] - start


def kills(folder: Path, wanted: int) -> dict[str, Any]:
    left_alone, killed, rng = folder / "alone", folder / "killed", random.Random(0)
    seconds = _child(left_alone)
    done = runs = 0
    equal = []
    while done < wanted:
        out = killed / str(runs)
        runs += 1
        while done < wanted and _child(out, kill_after=rng.uniform(0.2, 0.9) * seconds) is None:
            done += 1
        _child(out)
        equal.append(tables(out) == tables(left_alone))
    return {"kills": done, "runs": runs, "runs with the same tables": sum(equal), "left alone, s": seconds}


def _child(out: Path, kill_after: float = 0.0) -> float | None:
    """Run in processes of their own; None if they were killed before they had finished."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, __file__, "--run", str(out)], start_new_session=True)
    try:
        if process.wait(timeout=kill_after or None):
            raise SystemExit(f"a run failed: {out}")
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return None
    return time.perf_counter() - start


def reuse(folder: Path) -> dict[str, Any]:
    how = Running(2, store=str(folder / "store"))
    first = run(whole(), folder / "first", how)
    (contender,) = whole().classifiers
    other = replace(whole(), classifiers=(replace(contender, method=replace(contender.method, dropout=0.1)),))
    again = run(other, folder / "second", how)
    lines = [json.loads(line) for line in (folder / "second" / "log.jsonl").read_text().splitlines()]
    stages = json.loads((folder / "second" / "tasks.json").read_text())["tasks"]
    done = Counter(stages[line["task"]]["stage"] for line in lines if line["event"] == "done")
    return {"first, s": first, "with another classifier, s": again, "done anew": dict(done), "of": len(stages)}


def ray(folder: Path) -> dict[str, Any]:
    ours = run(whole(), folder / "processes", Running(2))
    theirs = run(whole(), folder / "ray", Running(2, ray="local"))
    same = tables(folder / "processes") == tables(folder / "ray")
    return {"processes, s": ours, "Ray, with its start, s": theirs, "same tables": same}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=["speed", "overhead", "kills", "reuse", "ray"])
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.run:
        run(whole(), asked.run, Running(2))
        return
    measures: dict[str, Callable[[Path], dict[str, Any]]] = {
        "speed": lambda folder: speed(folder, asked.turns),
        "overhead": lambda folder: overhead(folder, asked.turns),
        "kills": lambda folder: kills(folder, asked.kills),
        "reuse": reuse,
        "ray": ray,
    }
    found = {}
    for name in asked.only:
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measures[name](Path(folder))
        print(name, json.dumps(found[name]), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
