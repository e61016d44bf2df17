"""Downloads from a server in this process that breaks off, refuses, and knows or ignores ranges."""

import hashlib
import socket
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest

from lesionforge.data import download as module
from lesionforge.data.download import LIDC_TERMS, MEDMNIST_TERMS, download, fetch
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import Progress

CONTENT = np.random.default_rng(0).bytes(300_000)
MD5 = hashlib.md5(CONTENT).hexdigest()


class Heard(Progress):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


class Server(BaseHTTPRequestHandler):
    """Serves `CONTENT`; how, is said by the attributes, which each test sets anew."""

    knows_ranges: ClassVar[bool] = True
    breaks_after: ClassVar[list[int]] = []  # bytes of the next answers, each cut off there
    codes: ClassVar[list[int]] = []  # of the next answers, before any content
    ranges: ClassVar[list[str]] = []  # asked for

    def do_GET(self) -> None:
        asked = self.headers.get("Range", "")
        self.ranges.append(asked)
        if self.codes:
            self.send_error(self.codes.pop(0))
            return
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.knows_ranges else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        body = CONTENT[start:]
        self.send_response(206 if asked and self.knows_ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.breaks_after.pop(0)] if self.breaks_after else body)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture
def url(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    for name, value in {"knows_ranges": True, "breaks_after": [], "codes": [], "ranges": []}.items():
        monkeypatch.setattr(Server, name, value)
    monkeypatch.setattr(module, "PAUSE_S", 0.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/set.npz"
        server.shutdown()
        thread.join()


@pytest.fixture
def nowhere(url: str) -> str:
    """An address at which nobody answers."""
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unheard.getsockname()[1]}/set.npz"


def test_a_file_comes_whole_and_stays(tmp_path: Path, url: str) -> None:
    file = fetch(url, tmp_path / "new" / "set.npz", md5=MD5)
    assert file.read_bytes() == CONTENT
    assert [each.name for each in file.parent.iterdir()] == ["set.npz"]
    fetch(url, file, md5=MD5)
    assert Server.ranges == [""]  # the second time nothing was asked for


def test_a_broken_connection_is_taken_up_where_it_broke(tmp_path: Path, url: str) -> None:
    Server.breaks_after.extend([100_000, 50_000])
    heard = Heard()
    file = fetch(url, tmp_path / "set.npz", md5=MD5, progress=heard)
    assert file.read_bytes() == CONTENT
    assert Server.ranges == ["", "bytes=100000-", "bytes=150000-"]
    assert sum("connection broke" in line for line in heard.lines) == 2


def test_another_call_goes_on_with_what_an_earlier_one_left(tmp_path: Path, url: str) -> None:
    Server.breaks_after.extend([1000] * module.ATTEMPTS)
    with pytest.raises(LesionForgeError, match="which goes on where this ended"):
        fetch(url, tmp_path / "set.npz", md5=MD5)
    assert (tmp_path / "set.npz.part").stat().st_size == 1000 * module.ATTEMPTS
    assert not (tmp_path / "set.npz").exists()
    assert fetch(url, tmp_path / "set.npz", md5=MD5).read_bytes() == CONTENT
    assert Server.ranges[-1] == f"bytes={1000 * module.ATTEMPTS}-"


def test_a_server_without_ranges_begins_anew(tmp_path: Path, url: str) -> None:
    Server.knows_ranges = False
    Server.breaks_after.append(100_000)
    assert fetch(url, tmp_path / "set.npz", md5=MD5).read_bytes() == CONTENT


def test_what_was_complete_but_not_renamed_is_not_fetched_again(tmp_path: Path, url: str) -> None:
    (tmp_path / "set.npz.part").write_bytes(CONTENT)
    assert fetch(url, tmp_path / "set.npz", md5=MD5).read_bytes() == CONTENT
    assert not (tmp_path / "set.npz.part").exists()


@pytest.mark.parametrize("left", [b"", b"wrong bytes", CONTENT + b"more"], ids=["nothing", "other", "too much"])
def test_what_does_not_match_its_checksum_is_removed(tmp_path: Path, url: str, left: bytes) -> None:
    (tmp_path / "set.npz.part").write_bytes(left)
    with pytest.raises(StorageError, match="does not match its published checksum"):
        fetch(url, tmp_path / "set.npz", md5=MD5 if left else "0" * 32)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_refusal_ends_at_once_and_says_the_way_out(tmp_path: Path, url: str, code: int) -> None:
    Server.codes.append(code)
    with pytest.raises(LesionForgeError, match=rf"answers {code}.*lesionforge ingest PATH --format medmnist"):
        fetch(url, tmp_path / "set.npz", md5=MD5)
    assert len(Server.ranges) == 1


def test_a_busy_server_is_asked_again(tmp_path: Path, url: str) -> None:
    Server.codes.extend([503, 429])
    assert fetch(url, tmp_path / "set.npz", md5=MD5).read_bytes() == CONTENT


def test_what_is_in_the_way_stays(tmp_path: Path, url: str) -> None:
    (tmp_path / "set.npz").write_bytes(b"mine")
    with pytest.raises(StorageError, match="in the way"):
        fetch(url, tmp_path / "set.npz", md5=MD5)
    assert (tmp_path / "set.npz").read_bytes() == b"mine"
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(StorageError, match="in the way"):
        fetch(url, tmp_path / "folder.npz", md5=MD5)
    with pytest.raises(StorageError, match="a file or folder of another kind"):
        fetch(url, tmp_path / "set.npz" / "below.npz", md5=MD5)


def test_without_a_network_the_local_way_is_said(tmp_path: Path, nowhere: str) -> None:
    with pytest.raises(LesionForgeError, match=r"must be reachable.*lesionforge ingest PATH --format medmnist"):
        fetch(nowhere, tmp_path / "set.npz", md5=MD5)


def test_medmnist_is_fetched_by_name_after_its_terms(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ZENODO", url.rpartition("/")[0])
    monkeypatch.setitem(module.MEDMNIST_MD5, "nodulemnist3d_64", MD5)
    heard = Heard()
    file = download("medmnist-nodulemnist3d_64", tmp_path, progress=heard)
    assert file == tmp_path / "nodulemnist3d_64.npz"
    assert heard.lines[0] == MEDMNIST_TERMS
    assert "CC BY 4.0" in MEDMNIST_TERMS
    with pytest.raises(LesionForgeError, match="lidc-idri alone"):
        download("medmnist-nodulemnist3d_64", tmp_path, patients=["a"])


def test_an_unknown_name_is_answered_by_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(LesionForgeError, match="did you mean 'medmnist-nodulemnist3d'"):
        download("medmnist-nodulemnist", tmp_path)


# --- LIDC-IDRI, with a package that stands in for idc-index ---------------------------------------------------------

INDEX = pd.DataFrame(
    {
        "collection_id": ["lidc_idri"] * 4 + ["nlst"],
        "PatientID": ["LIDC-IDRI-0001", "LIDC-IDRI-0001", "LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0001"],
        "Modality": ["CT", "SEG", "DX", "CT", "CT"],
        "SeriesInstanceUID": ["1.1", "1.2", "1.3", "2.1", "9.1"],
        "instanceCount": [3, 1, 2, 4, 5],
        "series_size_MB": [1.5, 0.1, 9.0, 2.0, 3.0],
    }
)


class Client:
    """Writes the files of the index, without those that `lost` names."""

    index = INDEX
    lost: ClassVar[set[str]] = set()
    asked: ClassVar[list[str]] = []

    def download_from_selection(self, **asked: Any) -> None:
        assert set(asked) == {"downloadDir", "seriesInstanceUID", "use_s5cmd_sync"}
        self.asked.extend(asked["seriesInstanceUID"])
        for row in self.index[self.index["SeriesInstanceUID"].isin(asked["seriesInstanceUID"])].itertuples():
            folder = Path(
                asked["downloadDir"],
                row.collection_id,
                row.PatientID,
                "study",
                f"{row.Modality}_{row.SeriesInstanceUID}",
            )
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(row.instanceCount - (row.SeriesInstanceUID in self.lost)):
                (folder / f"{number}.dcm").touch()


@pytest.fixture
def idc(url: str, monkeypatch: pytest.MonkeyPatch) -> type[Client]:
    monkeypatch.setitem(sys.modules, "idc_index", SimpleNamespace(IDCClient=Client))
    monkeypatch.setattr(module, "LIDC_BUCKET", url)
    monkeypatch.setattr(Client, "lost", set())
    monkeypatch.setattr(Client, "asked", [])
    return Client


def test_lidc_comes_with_its_segmentations_after_its_terms(tmp_path: Path, idc: type[Client]) -> None:
    heard = Heard()
    assert download("lidc-idri", tmp_path / "lidc", progress=heard) == tmp_path / "lidc"
    assert idc.asked == ["1.1", "1.2", "2.1"]
    assert heard.lines[0] == LIDC_TERMS
    assert "CC BY 3.0" in LIDC_TERMS
    assert "3 series of 2 patients, 4 MB" in heard.lines


def test_patients_can_be_chosen(tmp_path: Path, idc: type[Client]) -> None:
    download("lidc-idri", tmp_path, patients=["LIDC-IDRI-0002"])
    assert idc.asked == ["2.1"]
    with pytest.raises(LesionForgeError, match="1 of 2 are not"):
        download("lidc-idri", tmp_path, patients=["LIDC-IDRI-0002", "LIDC-IDRI-9999"])


def test_a_series_that_is_not_whole_is_noticed(tmp_path: Path, idc: type[Client]) -> None:
    idc.lost.add("1.1")
    with pytest.raises(StorageError, match="must hold 3 series, but 1 of them are not whole"):
        download("lidc-idri", tmp_path)


def test_a_bucket_that_refuses_to_be_listed_is_reachable(tmp_path: Path, idc: type[Client]) -> None:
    Server.codes.append(403)
    assert download("lidc-idri", tmp_path) == tmp_path


def test_lidc_without_a_network_says_the_local_way(
    tmp_path: Path, idc: type[Client], nowhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIDC_BUCKET", nowhere)
    with pytest.raises(LesionForgeError, match="lesionforge ingest PATH --format lidc"):
        download("lidc-idri", tmp_path)
    assert idc.asked == []


def test_lidc_without_its_package_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "idc_index", None)
    with pytest.raises(LesionForgeError, match=r"lesionforge\[download\]"):
        download("lidc-idri", tmp_path)
