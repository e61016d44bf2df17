"""Tasks that tests do: in a module of its own, since other processes must be able to import what they are given."""

import errno
import os
import signal
import time
from collections.abc import Callable
from functools import partial

import torch

from lesionforge.errors import LesionForgeError
from lesionforge.storage import storage_errors
from lesionforge.tasks.graph import Bench, Task


def task(name: str, *needs: str, call: Callable[[Bench], None], key: str = "") -> Task:
    return Task(name, "stage", key or f"key-of-{name}", call, needs)


def joining(name: str, *needs: str, key: str = "") -> Task:
    """Writes its name behind what its needs wrote; says so, and works three steps."""
    return task(name, *needs, call=partial(join, name), key=key)


def join(name: str, bench: Bench) -> None:
    with bench.progress.work("joining", 3, unit="steps") as advance:
        for _ in range(3):
            advance(1, loss=0.5)
    bench.progress.say(f"{name} of {bench.shared}")
    before = "".join((folder / "made").read_text() for _, folder in sorted(bench.results.items()))
    (bench.folder / "made").write_text(f"{before}{name}")
    (bench.folder / "threads").write_text(f"{torch.get_num_threads()} in {os.getpid()}")


def fail(_: Bench) -> None:
    raise LesionForgeError("this cannot be done")


def fail_with_a_name(_: Bench) -> None:
    {}["".join(("secret", "name"))]


def be_killed(_: Bench) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def end_itself(_: Bench) -> None:
    os._exit(3)


def find_the_disk_full(bench: Bench) -> None:
    with storage_errors(bench.folder):
        raise OSError(errno.ENOSPC, "No space left on device")


def wait(bench: Bench) -> None:
    bench.progress.say(str(os.getpid()))
    time.sleep(120)


def go_on(bench: Bench) -> None:
    """Wait to be killed; taken up again, tell what was kept."""
    kept = bench.unfinished / "kept"
    if not kept.exists():
        kept.parent.mkdir(parents=True)
        kept.write_text("kept")
        bench.progress.say("begun")
        time.sleep(120)
    (bench.folder / "made").write_text(kept.read_text())
