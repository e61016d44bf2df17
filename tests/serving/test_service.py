"""The service over its real protocol: what it answers, and what it does not let happen."""

import asyncio
import io
import threading
import time
import tracemalloc
import zipfile
from contextlib import asynccontextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.model import Model
from lesionforge.data.geometry import Geometry
from lesionforge.data.patch_at import patch_at
from lesionforge.data.scan import Scan

httpx = pytest.importorskip("httpx", reason="the service is asked through httpx")
pytest.importorskip("fastapi", reason="the service needs the extra 'web'")

from lesionforge.serving import service as services  # noqa: E402
from lesionforge.serving.service import make_service  # noqa: E402
from lesionforge.serving.uploads import Limits  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

LIMITS = Limits(patches=4, files=50, archive_bytes=400_000, unpacked_bytes=500_000, voxels=40_000, at_once=2, waiting=3)


@pytest.fixture(scope="module")
def model(small_patches):
    method = SmallCNN(channels=(4, 4), max_images=64, batch_size=8, calibration="temperature")
    train, validation = small_patches(prefix="secretname"), small_patches(prefix="secretname2", seed=1)
    return Model([method.fit(train, validation=validation, seed=seed) for seed in range(2)])


@asynccontextmanager
async def client(model, limits=LIMITS):
    transport = httpx.ASGITransport(make_service(model, limits=limits), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://model", timeout=60) as opened:
        yield opened


def ask(model, *requests, limits=LIMITS):
    """Send these (method, path, body) one after the other; the responses."""

    async def send():
        async with client(model, limits) as opened:
            return [await opened.request(method, path, content=body) for method, path, body in requests]

    return asyncio.run(send())


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.fixture(scope="module")
def asked(small_patches):
    return small_patches(prefix="asked", seed=9).rows(range(4))


def test_it_answers_about_patches_as_the_model_does(model, asked):
    many, one = ask(model, ("POST", "/patches?spacing_mm=0.7&spacing_mm=0.7", npy(asked.images)),
                    ("POST", "/patches", npy(asked.images[0])))  # fmt: skip
    expected = [{key: row[key] for key in row if key != "seen"} for row in model.answer(asked).to_json()]
    assert many.status_code == 200
    for answers, wanted in ((many.json()["answers"], expected), (one.json()["answers"], expected[:1])):
        for found, row in zip(answers, wanted, strict=True):
            assert found["refused"] == row["refused"]
            assert found["probability"] == pytest.approx(row["probability"], abs=1e-6)
            assert found["strangeness"] == pytest.approx(row["strangeness"], rel=1e-4)


def test_it_refuses_what_is_strange_and_says_so(model):
    (response,) = ask(model, ("POST", "/patches", npy(np.full((8, 8), 3000))))
    (answer,) = response.json()["answers"]
    assert answer["probability"] is None
    assert "unlike" in answer["refused"]


def test_it_says_what_it_is_and_documents_itself(model):
    facts, documented, pages = ask(model, ("GET", "/model", b""), ("GET", "/openapi.json", b""), ("GET", "/docs", b""))
    assert facts.json()["classes"] == ["benign", "malignant"]
    assert facts.json()["shape"] == [8, 8]
    paths = documented.json()["paths"]
    assert set(paths) == {"/model", "/patches", "/scans"}
    assert paths["/scans"]["post"]["requestBody"]["content"] == services.ZIP
    assert set(paths["/patches"]["post"]["responses"]) >= {"200", "408", "413", "422", "503", "504"}
    assert pages.status_code == 404


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/patches", b"x" * 20_000, 413, "at most"),
        ("/patches", b"hello", 422, "numpy.save"),
        ("/patches", npy(np.zeros((9, 9))), 422, "8×8"),
        ("/patches?spacing_mm=0.7", npy(np.zeros((8, 8))), 422, "2 numbers"),
        ("/patches?spacing_mm=-1&spacing_mm=1", npy(np.zeros((8, 8))), 422, "above 0"),
        ("/patches?spacing_mm=3&spacing_mm=3", npy(np.zeros((8, 8))), 422, "resample"),
        ("/scans?x=0&y=0&z=0", b"hello", 422, "zip"),
        ("/scans?x=0&y=0&z=0", bytes(500_000), 413, "at most"),
    ],
)
def test_bad_requests_are_told_what_is_wrong(model, path, body, status, words):
    (response,) = ask(model, ("POST", path, body))
    assert response.status_code == status
    assert words in response.json()["error"]


@pytest.mark.parametrize("path", ["/scans", "/scans?x=nan&y=0&z=0", "/scans?x=inf&y=0&z=0", "/patches?spacing_mm=a"])
def test_bad_numbers_are_refused(model, path):
    (response,) = ask(model, ("POST", path, b""))
    assert response.status_code == 422


@pytest.fixture(scope="module")
def series(dicom_series_files):
    """A zipped DICOM series, and the scan that it is of."""
    return dicom_series_files


def test_it_answers_about_a_point_of_a_zipped_series(model, series):
    content, scan = series
    middle = tuple(scan.geometry.to_world(np.asarray(scan.geometry.shape) // 2).tolist())
    x, y, z = middle
    (response,) = ask(model, ("POST", f"/scans?x={x}&y={y}&z={z}", content))
    assert response.status_code == 200, response.text
    patches = patch_at(scan, middle, shape=(8, 8), spacing_mm=model.facts.spacing_mm)
    expected = {key: value for key, value in model.answer(patches).to_json()[0].items() if key != "seen"}
    assert response.json() == {"answers": [expected]}


def test_no_answer_names_a_path_or_a_patient(model, series, tmp_path):
    content, _ = series
    twice = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as archive, zipfile.ZipFile(twice, "w") as half:
        names = archive.namelist()
        for name in names[: len(names) // 2] + names[len(names) // 2 + 2 :]:  # slices are missing
            half.writestr(name, archive.read(name))
    outside, gaps, large = ask(
        model,
        ("POST", "/scans?x=9999&y=0&z=0", content),
        ("POST", "/scans?x=0&y=0&z=0", twice.getvalue()),
    ) + ask(model, ("POST", "/scans?x=0&y=0&z=0", content), limits=Limits(voxels=10))
    assert (outside.status_code, gaps.status_code, large.status_code) == (422, 422, 413)
    assert "inside the scan" in outside.json()["error"]
    for response in (outside, gaps, large):
        assert not any(word in response.text for word in ("secret", "/tmp", "1.2.", str(tmp_path), "Traceback"))


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_tampered_series_are_answered_or_refused_and_nothing_leaks(model, series, data):
    content, _ = series
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    for _ in range(data.draw(st.integers(1, 4))):
        one = files[data.draw(st.sampled_from(sorted(files)))]
        place = data.draw(st.integers(0, min(len(one), 1500) - 1))
        one[place : place + 4] = data.draw(st.binary(min_size=1, max_size=4))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, one in files.items():
            archive.writestr(name, bytes(one))
    (response,) = ask(model, ("POST", "/scans?x=0&y=0&z=0", stream.getvalue()))
    assert response.status_code in {200, 413, 422}
    assert not any(word in response.text for word in ("secret", "/tmp", "Traceback"))


def test_under_load_only_so_many_work_and_wait_and_the_rest_are_told_to_come_again(model, asked, monkeypatch):
    working, most, lock = 0, 0, threading.Lock()
    answers = services._answers

    def slow(*arguments):
        nonlocal working, most
        with lock:
            working += 1
            most = max(most, working)
        time.sleep(0.1)
        with lock:
            working -= 1
        return answers(*arguments)

    monkeypatch.setattr(services, "_answers", slow)

    async def crowd():
        async with client(model) as opened:
            first = await asyncio.gather(*(opened.post("/patches", content=npy(asked.images)) for _ in range(30)))
            return first, await opened.post("/patches", content=npy(asked.images))

    responses, after = asyncio.run(crowd())
    codes = [response.status_code for response in responses]
    assert set(codes) == {200, 503}
    assert codes.count(200) == LIMITS.at_once + LIMITS.waiting
    assert most == LIMITS.at_once
    assert all(response.headers["retry-after"] for response in responses if response.status_code == 503)
    assert after.status_code == 200


def test_who_takes_too_long_is_told_and_the_thread_counts_until_it_ends(model, asked, monkeypatch):
    answers, go_on = services._answers, threading.Event()
    monkeypatch.setattr(services, "_answers", lambda *given: (go_on.wait(20), answers(*given))[1])
    limits = Limits(at_once=1, waiting=1, answer_s=0.1, patches=4)

    async def crowd():
        async with client(model, limits) as opened:
            late = [(await opened.post("/patches", content=npy(asked.images))).status_code for _ in range(3)]
            go_on.set()
            for _ in range(100):
                await asyncio.sleep(0.05)
                response = await opened.post("/patches", content=npy(asked.images))
                if response.status_code == 200:
                    return late, response
            raise AssertionError("it never recovers")

    late, response = asyncio.run(crowd())
    assert late == [504, 504, 503]
    assert response.status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(model, asked):
    async def dribble():
        yield b"\x93"
        await asyncio.sleep(30)

    async def send():
        async with client(model, Limits(read_s=0.1, at_once=1, waiting=1)) as opened:
            late = await opened.post("/patches", content=dribble())
            return late, await opened.post("/patches", content=npy(asked.images))

    start = time.monotonic()
    late, after = asyncio.run(send())
    assert late.status_code == 408
    assert after.status_code == 200
    assert time.monotonic() - start < 20


def test_who_hangs_up_is_no_fault_of_ours_and_leaves_room(model, asked):
    limits = Limits(at_once=1, waiting=1)
    service, said = make_service(model, limits=limits), []
    scope = {"type": "http", "method": "POST", "path": "/patches", "query_string": b"", "headers": []}

    async def hang_up():
        messages = iter([{"type": "http.request", "body": b"x", "more_body": True}, {"type": "http.disconnect"}])

        async def receive():
            return next(messages)

        async def send(message):
            said.append(message)

        await service(scope, receive, send)

    async def many():
        for _ in range(limits.at_once + limits.waiting + 1):
            await hang_up()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://model") as opened:
            return await opened.post("/patches", content=npy(asked.images))

    assert asyncio.run(many()).status_code == 200
    assert not said


def test_a_body_without_a_length_is_cut_off_where_it_gets_too_large(model):
    sent = 0

    async def endless():
        nonlocal sent
        while sent < 10_000_000:
            sent += 1000
            yield bytes(1000)

    async def send():
        async with client(model) as opened:
            return await opened.post("/patches", content=endless())

    assert asyncio.run(send()).status_code == 413
    assert sent < 50_000


def test_however_many_come_with_large_bodies_memory_is_bounded(model):
    """Who finds no room is sent away before their body is read."""
    limits, crowd_size = Limits(patches=2000, at_once=1, waiting=1), 60
    body = npy(np.random.default_rng(0).normal(-700, 150, (limits.patches, 8, 8)))
    read = 0

    async def parts():
        nonlocal read
        read += 1
        for start in range(0, len(body), 65_536):
            yield bytes(bytearray(body[start : start + 65_536]))  # a copy
            await asyncio.sleep(0)

    async def crowd():
        async with client(model, limits) as opened:
            return await asyncio.gather(*(opened.post("/patches", content=parts()) for _ in range(crowd_size)))

    tracemalloc.start()
    try:
        codes = [response.status_code for response in asyncio.run(crowd())]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert codes.count(200) == read == 2
    assert codes.count(503) == crowd_size - 2
    assert peak < crowd_size * len(body) / 3


@pytest.fixture(scope="module")
def dicom_series_files(tmp_path_factory):
    return _zipped_series(tmp_path_factory.mktemp("series"))


def _zipped_series(folder):
    """Write ten small CT slices of a patient whose names can be looked for."""
    import pydicom
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    rng = np.random.default_rng(0)
    voxels = rng.normal(-700, 150, (10, 32, 32)).round().astype(np.int16)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, pixels in enumerate(voxels):
            meta = FileMetaDataset()
            meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
            meta.TransferSyntaxUID = ExplicitVRLittleEndian
            slice_ = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
            slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, f"1.2.3.{k + 1}"
            slice_.StudyInstanceUID, slice_.SeriesInstanceUID = "1.2.4", "1.2.5"
            slice_.FrameOfReferenceUID, slice_.Modality, slice_.PatientID = "1.2.6", "CT", "secretpatient"
            slice_.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
            slice_.ImagePositionPatient, slice_.ImageOrientationPatient = [0, 0, 2.0 * k], [1, 0, 0, 0, 1, 0]
            slice_.PixelSpacing, slice_.SliceThickness = [0.7, 0.7], 2.0
            slice_.Rows, slice_.Columns, slice_.SamplesPerPixel = 32, 32, 1
            slice_.PhotometricInterpretation = "MONOCHROME2"
            slice_.BitsAllocated, slice_.BitsStored, slice_.HighBit, slice_.PixelRepresentation = 16, 16, 15, 1
            slice_.RescaleSlope, slice_.RescaleIntercept, slice_.RescaleType = 1, 0, "HU"
            slice_.PixelData = pixels.tobytes()
            file = folder / f"{k}.dcm"
            pydicom.dcmwrite(file, slice_, enforce_file_format=True)
            archive.writestr(f"secretfolder/secretfile{k}.dcm", file.read_bytes())
    geometry = Geometry((10, 32, 32), (2.0, 0.7, 0.7), (0.0, 0.0, 0.0))
    return stream.getvalue(), Scan(voxels, geometry, patient="other", name="other")
