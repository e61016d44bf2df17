"""Public data for those who have a network: MedMNIST from Zenodo, LIDC-IDRI from the Imaging Data Commons (IDC).

A MedMNIST file comes in under a name that ends in ``.part``, is taken up where a broken connection left it, and gets
its own name once it met its published checksum. (The MedMNIST package fetches its files with torchvision alone, and
does not resume.) LIDC-IDRI comes through the package idc-index, which fetches what is not there yet; that all files
came is checked against its index.
"""

import hashlib
import importlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import nearest
from lesionforge.storage import storage_errors

ZENODO = "https://zenodo.org/records/10519652/files"
LIDC_BUCKET = "https://idc-open-data.s3.amazonaws.com"
TIMEOUT_S = 30
ATTEMPTS = 5
PAUSE_S = 1.0
BLOCK = 2**20
RESUMED, COMPLETE, BUSY = 206, 416, (429, 500, 502, 503, 504)  # answers of HTTP
NETWORK_ERRORS = (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError, ssl.SSLError)

LIDC = "lidc-idri"
LIDC_TERMS = (
    "LIDC-IDRI, licence CC BY 3.0. Cite Armato et al., Medical Physics 38(2):915-931 (2011), doi:10.1118/1.3528204, "
    "the data, doi:10.7937/K9/TCIA.2015.LO9QL9SX, and for the DICOM SEG, doi:10.7937/TCIA.2018.h7umfurq."
)
LIDC_READINGS = (
    "Each reader's contours are a DICOM SEG of their own (`--format seg`). To have readings grouped by nodule, put the "
    "LIDC XML files of doi:10.7937/K9/TCIA.2015.LO9QL9SX beside the scans (`--format lidc`)."
)
LIDC_MODALITIES = ("CT", "SEG")
MEDMNIST = "medmnist-"
MEDMNIST_TERMS = (
    "MedMNIST, licence CC BY 4.0. Cite Yang et al., Scientific Data 10:41 (2023), doi:10.1038/s41597-022-01721-8, and "
    "the work that the set was made from (see https://medmnist.com)."
)
MEDMNIST_MD5 = {  # as published; _64 and so on: pixels along a side, where not 28
    "organamnist": "68e3f8846a6bd62f0c9bf841c0d9eacc",
    "organamnist_64": "2dcccc29b88e6da5a01161ef20cda288",
    "organamnist_128": "eeae80d0a227a8d099027e1b3cfd3b60",
    "organamnist_224": "50747347e05c87dd3aaf92c49f9f3170",
    "organcmnist": "b9ceb9546e10131b32923c5bbeaea2b1",
    "organcmnist_64": "3ce34a8724ea6f548e6db4744d03b6a9",
    "organcmnist_128": "773c1f009daa3fe5d9a2a201b2a7ed94",
    "organcmnist_224": "050f5e875dc056f6768abf94ec9995d1",
    "organsmnist": "9ab87b696fb54e2a387ebe992d6ed5f1",
    "organsmnist_64": "53a6d115339d874c25e309a994ff46d3",
    "organsmnist_128": "ded0c5fa01a95dc4978b956f613e9b8e",
    "organsmnist_224": "b354719e553fbbb2513d5533f52a4cb1",
    "organmnist3d": "a0c5a1ff56af4f155c46d46fbb45a2fe",
    "organmnist3d_64": "58a2205adf14a9d0a189cb06dc78bf10",
    "nodulemnist3d": "8755a7e9e05a4d9ce80a24c3e7a256f3",
    "nodulemnist3d_64": "c47c5b7d457bf6332200d2ea6d64ecd8",
    "adrenalmnist3d": "bbd3c5a5576322bc4cdfea780653b1ce",
    "adrenalmnist3d_64": "17721accfe9fb005146a47d33bc54b2f",
    "fracturemnist3d": "6aa7b0143a6b42da40027a9dda61302f",
    "fracturemnist3d_64": "f01d7e6316aedf4210da0da5b7437b42",
    "vesselmnist3d": "b41fd4f7e7e2feedddb201585ecafa1b",
    "vesselmnist3d_64": "6bb274a8846e1097066dcd64e2c4520f",
}
NAMES = (LIDC, *(MEDMNIST + name for name in MEDMNIST_MD5))


def download(name: str, out: Path, *, patients: Sequence[str] = (), progress: Progress = SILENT) -> Path:
    """Fetch a public data set into the folder ``out`` and return what to ingest; what is there already stays.

    Parameters
    ----------
    name
        One of `NAMES`.
    patients
        Of LIDC-IDRI, only these; empty: all, 130 GB.
    progress
        Told licence and citation before anything is fetched.

    Raises
    ------
    LesionForgeError
        The name or a patient is unknown, a package is missing, or the network does not answer.
    StorageError
        What came is not what was published, or cannot be written.
    """
    if name not in NAMES:
        raise LesionForgeError(f"{name!r} is not among what can be downloaded{nearest(name, NAMES)}")
    if name == LIDC:
        progress.say(LIDC_TERMS)
        folder = _fetch_lidc(out, patients, progress)
        progress.say(LIDC_READINGS)
        return folder
    if patients:
        raise LesionForgeError(f"patients can be chosen of {LIDC} alone: MedMNIST does not say whose its pictures are.")
    progress.say(MEDMNIST_TERMS)
    file = f"{name.removeprefix(MEDMNIST)}.npz"
    return fetch(f"{ZENODO}/{file}?download=1", out / file, md5=MEDMNIST_MD5[Path(file).stem], progress=progress)


def fetch(url: str, file: Path, *, md5: str, progress: Progress = SILENT) -> Path:
    """Fetch one file; go on with what an earlier call left in ``file`` + ``.part``.

    Raises
    ------
    LesionForgeError
        The network does not answer, or not with the file.
    StorageError
        The file does not meet its checksum, another is in its place, or it cannot be written.
    """
    if file.exists():
        if not file.is_file() or _md5(file) != md5:
            raise StorageError(
                f"{file} is in the way and is not what would be fetched: move it, or choose another place."
            )
        progress.say(f"{file} is there already, and whole")
        return file
    part = file.with_name(f"{file.name}.part")
    with storage_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        _fetch_rest(url, part, progress)
        if _md5(part) != md5:
            part.unlink()
            raise StorageError(
                f"what came from {url} does not match its published checksum {md5}, and was removed: try again later, "
                f"or fetch it otherwise and {_instead('medmnist')}"
            )
        part.rename(file)
    return file


def _fetch_rest(url: str, part: Path, progress: Progress) -> None:
    """Append to ``part`` what is missing, in several attempts."""
    for attempt in range(ATTEMPTS):
        time.sleep(PAUSE_S * attempt)
        try:
            _fetch_once(url, part, progress)
        except NETWORK_ERRORS as error:
            code = getattr(error, "code", None)
            if code == COMPLETE and part.exists():
                return
            if code is not None and code not in BUSY:
                raise LesionForgeError(
                    f"{url} answers {code}: fetch the file otherwise and {_instead('medmnist')}"
                ) from None
            failure = getattr(error, "reason", error)
            progress.say(f"the connection broke ({failure}), attempt {attempt + 1} of {ATTEMPTS}")
        else:
            return
    raise LesionForgeError(
        f"{url} must be reachable, but is not ({failure}): call again when there is a network, which goes on where "
        f"this ended; or fetch the file elsewhere and {_instead('medmnist')}"
    )


def _fetch_once(url: str, part: Path, progress: Progress) -> None:
    there = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})  # noqa: S310 (ours)
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310
        if response.status != RESUMED:  # it sends the whole file, whatever was asked for
            there = 0
        total = there + int(response.headers.get("Content-Length", 0))
        work = progress.work(part.stem, total, unit="bytes", done=there)
        with part.open("ab" if there else "wb") as stream, work as advance:
            while block := response.read(BLOCK):
                stream.write(block)
                advance(len(block))
    if part.stat().st_size < total:
        raise ConnectionError("it ended early")


def _md5(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _fetch_lidc(out: Path, patients: Sequence[str], progress: Progress) -> Path:
    try:
        client = importlib.import_module("idc_index").IDCClient()
    except ImportError:
        raise LesionForgeError(
            "LIDC-IDRI is fetched with the package idc-index, which is not installed: install `lesionforge[download]`, "
            f"or fetch it otherwise and {_instead('lidc')}"
        ) from None
    index = client.index
    index = index[(index["collection_id"] == "lidc_idri") & index["Modality"].isin(LIDC_MODALITIES)]
    if unknown := len(set(patients) - set(index["PatientID"])):
        raise LesionForgeError(
            f"patients must be of LIDC-IDRI, as LIDC-IDRI-0001, but {unknown} of {len(patients)} are not."
        )
    if patients:
        index = index[index["PatientID"].isin(patients)]
    _check_reachable(LIDC_BUCKET)
    progress.say(
        f"{len(index)} series of {index['PatientID'].nunique()} patients, {index['series_size_MB'].sum():,.0f} MB"
    )
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    client.download_from_selection(
        downloadDir=str(out), seriesInstanceUID=index["SeriesInstanceUID"].tolist(), use_s5cmd_sync=True
    )
    _check_whole(out, index)
    return out


def _check_reachable(url: str) -> None:
    """Find out in seconds that there is no network: idc-index tries for minutes, and does not say that it failed."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310 (ours)
            pass
    except urllib.error.HTTPError:
        pass  # it answers
    except NETWORK_ERRORS as error:
        failure = getattr(error, "reason", error)
        raise LesionForgeError(
            f"{url} must be reachable, but is not ({failure}): call again when there is a network, or fetch LIDC-IDRI "
            f"elsewhere and {_instead('lidc')}"
        ) from None


def _check_whole(out: Path, index: Any) -> None:
    """Compare the files of each series with the index."""
    files = {folder.name: len(list(folder.glob("*.dcm"))) for folder in out.glob("lidc_idri/*/*/*")}
    named = index["Modality"] + "_" + index["SeriesInstanceUID"]
    lacking = sum(files.get(name, 0) < count for name, count in zip(named, index["instanceCount"], strict=True))
    if lacking:
        raise StorageError(
            f"{out} must hold {len(index)} series, but {lacking} of them are not whole: call again, which fetches what "
            "is missing."
        )


def _instead(format_: str) -> str:
    return f"use it with `lesionforge ingest PATH --format {format_}`."
