"""Small studies, databases of both kinds, and readers of known ability."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from lesionforge.data.exposure import Exposure
from lesionforge.data.patches import Patches

pytest.importorskip("sqlalchemy", reason="the reader study needs the extra 'web'")
pytest.importorskip("fastapi", reason="the reader study needs the extra 'web'")

from lesionforge.reader_study.creation import create
from lesionforge.reader_study.database import Database
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.given import Given
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import Study

GENERATOR = "dcgan-0123456789abcdef"


def make_sets(
    *, patients: int = 20, per_patient: int = 2, shape: tuple[int, ...] = (16, 16), seed: int = 0
) -> list[Patches]:
    """Real patches with padding and odd values, and synthetic ones as a generator gives them: floats in its window."""
    rng = np.random.default_rng(seed)
    count = patients * per_patient
    owner = np.repeat(np.arange(patients), per_patient)
    label = [("benign", "malignant")[number % 2] for number in owner]
    real = rng.normal(-500, 400, (count, *shape)).round().astype(np.int16)
    real[:, ..., :2] = -3024  # outside the field of view
    made = np.tanh(rng.normal(-0.3, 0.5, (count, *shape))).astype(np.float32) * 700 - 300
    known = Patches.of(real, patient=[f"P{number:03}" for number in owner], label=label, spacing_mm=0.7)
    table = Patches.of(made, patient=[f"synthetic:{GENERATOR}"] * count, label=label).table.assign(origin=GENERATOR)
    return [known, Patches(made, table, generators={GENERATOR: Exposure.to(["P000"], [])})]


@pytest.fixture(scope="session")
def sets() -> list[Patches]:
    return make_sets()


@pytest.fixture
def make_study(tmp_path: Path, sets: list[Patches]) -> Callable[..., Study]:
    """Makes a study in a folder called ``name``; other settings are the design's."""

    def make(name: str = "study", *, of: list[Patches] | None = None, **design: object) -> Study:
        return create(of or sets, tmp_path / name, design=Design(**({"per_class": 4} | design)))

    return make


@pytest.fixture
def make_ledger(tmp_path: Path, make_study: Callable[..., Study]) -> Iterator[Callable[..., Ledger]]:
    """Makes a study with its database, SQLite unless ``url`` names another."""
    opened: list[Database] = []

    def make(name: str = "study", *, url: str = "", **design: object) -> Ledger:
        study = make_study(name, **design)
        opened.append(Database.open(tmp_path / name, url))
        return Ledger(study, opened[-1])

    yield make
    for database in opened:
        database.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of one's own, reached through a socket in a folder; it ends with the tests."""
    initdb, server = shutil.which("initdb"), shutil.which("postgres")
    pytest.importorskip("psycopg", reason="PostgreSQL is asked through psycopg")
    if initdb is None or server is None:
        pytest.skip("no PostgreSQL here: initdb and postgres are not on the path")
    user = "postgres" if os.geteuid() == 0 else None  # it refuses to run as root
    if user and user not in {entry.pw_name for entry in pwd.getpwall()}:
        pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
    folder = Path(tempfile.mkdtemp(prefix="lf-pg-", dir="/tmp"))
    if user:
        shutil.chown(folder, user)
    who: dict[str, object] = {"user": user, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run([initdb, "-D", folder / "data", "-A", "trust", "-U", "reader", "--no-sync"], check=True, **who)
    quick = ["-c", "fsync=off", "-c", "listen_addresses=", "-c", f"unix_socket_directories={folder}"]
    process = subprocess.Popen([server, "-D", folder / "data", *quick], **who)
    try:
        _wait_for(folder / ".s.PGSQL.5432")
        yield f"postgresql://reader@/postgres?host={folder}"
    finally:
        process.send_signal(signal.SIGQUIT)  # at once: nobody needs it again
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def fresh_postgres(postgres: str) -> str:
    """URL of an empty schema, which is quicker made than a database."""
    import psycopg

    name = f"study_{os.urandom(6).hex()}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres}&options=-csearch_path%3D{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """Both kinds of database."""
    return "" if request.param == "sqlite" else str(request.getfixturevalue("fresh_postgres"))


@pytest.fixture
def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait_for(path: Path) -> None:
    import time

    for _ in range(200):
        if path.exists():
            time.sleep(0.2)
            return
        time.sleep(0.1)
    raise TimeoutError(path.name)


def read_all(ledger: Ledger, name: str, answer: Callable[[int], Given]) -> int:
    """Have a new reader answer everything, each item by its number; return how many answers that were."""
    _, person = ledger.redeem(ledger.invite(name))
    assert person.reader is not None
    now = ledger.now(person.reader)
    while now.state == "item":
        item = ledger.item(person.reader, now.slot)
        _, now = ledger.answer(person.reader, now.slot, answer(item))
    return now.done


@pytest.fixture(scope="session")
def read() -> Callable[..., int]:
    return read_all
