"""What a served reader study withstands: kills while answers stream in, many readers at once; its pages as pictures.

    python benchmarks/reader_study.py kills --times 200 [--database postgresql://…]
    python benchmarks/reader_study.py load --readers 50 --seconds 60
    python benchmarks/reader_study.py pictures REAL.patches SYNTHETIC.patches --out docs/images/reader_study

Traffic goes to this machine's loopback alone, is bounded in time, and ends by itself.
"""

import argparse
import asyncio
import io
import json
import multiprocessing
import random
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure
from lesionforge.data.patches import Patches
from lesionforge.reader_study.creation import create
from lesionforge.reader_study.database import Database
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import Study
from lesionforge.reader_study.web.server import serve
from lesionforge.reader_study.web.site import Site

UNLIMITED = {"requests_per_s": 1e5, "joins_per_minute": 1e5, "at_once": 1000}
ITEMS_EACH = 100
READY_S = 120


def noise_study(out: Path, *, per_class: int, px: int = 64) -> Study:
    """A study of noise, real and synthetic."""
    rng = np.random.default_rng(0)
    images = rng.normal(-500, 300, (per_class, px, px)).round().astype(np.int16)
    known = Patches.of(images, patient=[str(number) for number in range(per_class)], label="a")
    made = Patches.of(images[::-1] + 1, patient=["synthetic:g"] * per_class, label="a")
    synthetic = Patches(made.images, made.table.assign(origin="g-1"), generators={"g-1": Exposure()})
    return create([known, synthetic], out, design=Design(per_class=per_class))


class Server:
    """A served study in a process of its own, killed and started again on the same port.

    Processes are forked from one that has imported everything: a start takes a moment, whatever the imports take.
    """

    def __init__(self, study: Path, *, database: str = "") -> None:
        self.study, self.database = study, database
        with socket.socket() as listening:
            listening.bind(("127.0.0.1", 0))
            self.port = listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["__main__", serve.__module__])

    def start(self) -> None:
        """Start, and wait until it answers."""
        site = Site(self.url, **UNLIMITED)
        asked = {"site": site, "host": "127.0.0.1", "port": self.port, "database": self.database}
        self.process = self._context.Process(target=serve, args=(self.study,), kwargs=asked)
        self.process.start()
        until = time.monotonic() + READY_S
        while time.monotonic() < until and self.process.is_alive():
            try:
                if httpx.get(f"{self.url}/health", timeout=10).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.02)
        raise TimeoutError("the server did not come up")

    def kill(self) -> None:
        """Kill -9: it ends as it stands."""
        self.process.kill()
        self.process.join()

    def memory_mib(self) -> float:
        """Resident memory."""
        (line,) = (row for row in Path(f"/proc/{self.process.pid}/status").read_text().splitlines() if "VmRSS" in row)
        return int(line.split()[1]) / 1024


@dataclass
class Persistent:
    """A reader who sends each answer until it is acknowledged, and notes what was."""

    url: str
    ledger: Ledger
    name: str
    acknowledged: dict[str, int] = field(default_factory=dict)
    sent_again: int = 0

    def read(self, stop: threading.Event) -> None:
        """Read one list after the other until told to stop."""
        number = 0
        while not stop.is_set():
            self._read_list(f"{self.name}-{number}", stop)
            number += 1

    def _read_list(self, name: str, stop: threading.Event) -> None:
        chance = random.Random(name)
        invitation = self.ledger.invite(name)
        cookie, _ = self.ledger.redeem(invitation)
        with httpx.Client(base_url=self.url, cookies={"lesionforge": cookie}, timeout=10) as client:
            client.headers["X-CSRF-Token"] = self._persist(lambda: client.get("/api/study"), stop).get("csrf", "")
            now = self._persist(lambda: client.get("/api/now"), stop)
            while now and now["state"] == "item" and not stop.is_set():
                given = {"slot": now["slot"], "rating": chance.randrange(4)}
                said = self._persist(lambda body=given: client.post("/api/answers", json=body), stop)
                if said:
                    self.acknowledged[given["slot"]] = given["rating"]
                    now = said["now"]

    def _persist(self, ask, stop: threading.Event) -> dict:
        while True:
            try:
                said = ask()
                if said.status_code == 200:
                    return said.json()
                if said.status_code < 500:
                    raise AssertionError(said.text)
            except httpx.HTTPError:
                pass
            self.sent_again += 1
            if stop.is_set():
                return {}
            time.sleep(0.05)


def survive_kills(folder: Path, *, times: int, readers: int = 4, database: str = "", seed: int = 0) -> dict:
    """Kill the server ``times`` times while readers answer; raise AssertionError if an answer is lost or doubled."""
    study = noise_study(folder / "study", per_class=ITEMS_EACH // 2, px=8)
    ledger = Ledger(study, Database.open(folder / "study", database))
    server, chance = Server(folder / "study", database=database), random.Random(seed)
    people = [Persistent(server.url, ledger, f"reader {number}") for number in range(readers)]
    stop = threading.Event()
    threads = [threading.Thread(target=person.read, args=(stop,)) for person in people]
    server.start()
    for thread in threads:
        thread.start()
    try:
        for _ in range(times):
            time.sleep(chance.uniform(0.02, 0.8))
            before = {slot: rating for person in people for slot, rating in list(person.acknowledged.items())}
            server.kill()
            _check(ledger, before)
            server.start()
        time.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
        server.kill()
    acknowledged = {slot: rating for person in people for slot, rating in person.acknowledged.items()}
    kept = _check(ledger, acknowledged)
    ledger.database.close()
    return {
        "kills": times,
        "acknowledged": len(acknowledged),
        "kept": kept,
        "sent_again": sum(person.sent_again for person in people),
    }


def _check(ledger: Ledger, acknowledged: dict[str, int]) -> int:
    """Every acknowledged answer is there as it was given, and readers have answered without gaps, each item once."""
    from lesionforge.reader_study import tables

    with ledger.database.reading() as connection:
        kept = {row.slot_id: row.rating for row in connection.execute(tables.answer.select())}
    lost = {slot for slot, rating in acknowledged.items() if kept.get(slot) != rating}
    assert not lost, f"{len(lost)} acknowledged answers are not there"
    places: dict[str, list[int]] = {}
    for row in ledger.answers():
        places.setdefault(row["reader"], []).append(row["place"])
    assert all(found == list(range(len(found))) for found in places.values()), "an answer is missing or doubled"
    return len(kept)


async def load(folder: Path, *, readers: int, seconds: float, think_s: float, database: str = "") -> dict:
    """Have that many readers look at items and answer at once; the times that they waited, and the server's memory."""
    study = noise_study(folder / "study", per_class=ITEMS_EACH // 2)
    ledger = Ledger(study, Database.open(folder / "study", database))
    server = Server(folder / "study", database=database)
    server.start()
    waited: dict[str, list[float]] = {"item": [], "answer": []}
    errors: list[str] = []
    memory = [server.memory_mib()]
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        chance, lists = random.Random(number), 0
        while time.monotonic() < end:
            invitation = await asyncio.to_thread(ledger.invite, f"{number}-{lists}")
            cookie, _ = await asyncio.to_thread(ledger.redeem, invitation)
            lists += 1
            async with httpx.AsyncClient(base_url=server.url, cookies={"lesionforge": cookie}, timeout=30) as client:
                client.headers["X-CSRF-Token"] = (await client.get("/api/study")).json()["csrf"]
                now = (await client.get("/api/now")).json()
                while now["state"] == "item" and time.monotonic() < end:
                    await asyncio.sleep(chance.expovariate(1 / think_s))
                    await timed("item", client.get(f"/api/items/{now['slot']}"))
                    body = {"slot": now["slot"], "rating": chance.randrange(4)}
                    said = await timed("answer", client.post("/api/answers", json=body))
                    now = said["now"]

    async def timed(kind: str, asking):
        start = time.perf_counter()
        said = await asking
        waited[kind].append(time.perf_counter() - start)
        if said.status_code != 200:
            errors.append(f"{kind} {said.status_code}")
        return said.json() if kind == "answer" else None

    async def watch() -> None:
        while time.monotonic() < end:
            await asyncio.sleep(seconds / 20)
            memory.append(server.memory_mib())

    await asyncio.gather(watch(), *(one(number) for number in range(readers)))
    server.kill()
    ledger.database.close()
    times = {
        kind: {f"p{share}_ms": round(1000 * float(np.quantile(all_, share / 100)), 1) for share in (50, 95, 99)}
        for kind, all_ in waited.items()
    }
    counts = {"answers": len(waited["answer"]), "answers_per_s": round(len(waited["answer"]) / seconds, 1)}
    middle = len(memory) // 2
    shown = {"start": memory[0], "middle": memory[middle], "end": memory[-1]}
    return {
        "readers": readers,
        **counts,
        **times,
        "errors": errors,
        "memory_mib": {k: round(v, 1) for k, v in shown.items()},
    }


SEED = 14  # with the sets in docs/reader_study.md, readers begin with lesions of the phantom
SIZES = {"desktop": {"width": 1280, "height": 800}, "tablet": {"width": 820, "height": 1180}}


def pictures(sets: list[Path], out: Path) -> None:
    """Drive a study in Chromium, and keep a picture of each page at both sizes."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        asked = {"ask_comment": True, "ask_region": True, "training_per_class": 1, "repeats": 2, "batches": 2}
        design = Design(title="Solid nodules", per_class=4, seed=SEED, **asked)
        study = create([patches_file.load(path) for path in sets], folder / "study", design=design)
        ledger = Ledger(study, Database.open(folder / "study"))
        server = Server(folder / "study")
        server.start()
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for size, viewport in SIZES.items():
            page = browser.new_context(viewport=viewport, has_touch=size == "tablet").new_page()
            _through(page, f"{server.url}/join#{ledger.invite(f'Reader {size}')}", out, size)
            owner = browser.new_context(viewport=viewport).new_page()
            owner.goto(f"{server.url}/join#{ledger.invite_owner()}")
            owner.keyboard.press("Enter")
            owner.wait_for_selector("#readers tr")
            _picture(owner, out / f"owner_{size}.png")
        browser.close()
        server.kill()
        ledger.database.close()


def _picture(page, path: Path) -> None:
    """Keep what a page shows, in 64 colours: a third of the bytes."""
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").quantize(64).save(path, optimize=True)


def _through(page, link: str, out: Path, size: str) -> None:
    """One reader's way, with a picture at each station."""

    def keep(name: str) -> None:
        page.wait_for_timeout(250)
        _picture(page, out / f"{name}_{size}.png")

    page.goto(link)
    keep("join")
    page.keyboard.press("Enter")
    page.wait_for_selector("#intro:not([hidden])")
    keep("intro")
    page.keyboard.press("Enter")
    taken = set()
    while True:
        page.wait_for_function("['rest','item','ended'].some((id) => !document.getElementById(id).hidden)")
        page.wait_for_timeout(120)
        if page.locator("#ended").is_visible():
            keep("ended")
            return
        if page.locator("#rest").is_visible():
            page.keyboard.press("Enter")
            continue
        if page.locator("#feedback").is_visible():
            if "feedback" not in taken:
                keep("feedback")
            taken.add("feedback")
            page.keyboard.press("Enter")
            continue
        page.keyboard.press("4")
        if "feedback" in taken and "reading" not in taken and page.locator("#practice").is_hidden():
            for key in ("x", "ArrowUp", "Shift+ArrowRight"):
                page.keyboard.press(key)
            keep("reading")
            taken.add("reading")
            page.keyboard.press("?")
            keep("keys")
            page.keyboard.press("Escape")
            page.click("#device")
            page.wait_for_selector("#elsewhere[open]")
            keep("device")
            page.keyboard.press("Escape")
        page.locator("#canvas").focus()
        page.keyboard.press("Enter")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    kills = verbs.add_parser("kills")
    kills.add_argument("--times", type=int, default=200)
    loads = verbs.add_parser("load")
    loads.add_argument("--readers", type=int, default=50)
    loads.add_argument("--seconds", type=float, default=60)
    loads.add_argument("--think-s", type=float, default=1.0)
    for verb in (kills, loads):
        verb.add_argument("--database", default="")
    shown = verbs.add_parser("pictures")
    shown.add_argument("sets", type=Path, nargs="+")
    shown.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.verb == "pictures":
        pictures(asked.sets, asked.out)
        return
    with tempfile.TemporaryDirectory() as name:
        if asked.verb == "kills":
            found = survive_kills(Path(name), times=asked.times, database=asked.database)
        else:
            waits = {"readers": asked.readers, "seconds": asked.seconds, "think_s": asked.think_s}
            found = asyncio.run(load(Path(name), **waits, database=asked.database))
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
