"""The service: a model answers about a patch, or about a point of a DICOM series.

Requests are admitted before their bodies are read, so many at once and no more; each body is read up to a limit of
bytes and of time; work is done in as many threads as `Limits` says. A request that takes too long is told so, but its
thread counts until it ends, so that however many come, the work under way stays bounded. Answers and errors name no
file, no path and no identifier, and do not tell whether the model has learnt from a patient.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any, BinaryIO, TypeVar

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, FiniteFloat
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from lesionforge import __version__
from lesionforge.classifiers.model import Model
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.serving.uploads import UNKNOWN, Limits, UploadError, most_array_bytes, read_array, read_patch

T = TypeVar("T")
R = TypeVar("R")

BUSY_FOR_S = "5"
MOST_DIGITS = 15  # of a length

NPY = {"application/x-npy": {"schema": {"type": "string", "format": "binary"}}}
ZIP = {"application/zip": {"schema": {"type": "string", "format": "binary"}}}


class Answer(BaseModel):
    """What the model says of one patch."""

    refused: str | None
    probability: dict[str, float] | None
    spread: dict[str, float] | None
    strangeness: float | None


class Answers(BaseModel):
    """What the model says of each patch, in their order."""

    answers: list[Answer]


class Facts(BaseModel):
    """What the model knows, and what it must be shown."""

    classes: list[str]
    shape: list[int]
    unit: str
    window: str
    spacing_mm: list[list[float]]
    members: int
    calibrated: bool
    refuses: bool


class Problem(BaseModel):
    """Why there is no answer."""

    error: str


class Silence(Response):
    """No answer: whoever asked has hung up, or the server has told them already that their body is no HTTP."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send nothing, which the server would take for a fault of its own."""


class Desk:
    """Who is let in, and who works."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._inside = 0
        self._workers = ThreadPoolExecutor(limits.at_once)

    async def serve(self, read: Callable[[], Awaitable[T]], work: Callable[[T], R]) -> R:
        """Read a body, then have a thread work on it; raise UploadError if there is no room or no time."""
        if self._inside >= self.limits.at_once + self.limits.waiting:
            raise UploadError(503, "too many requests are being worked on: try again in some seconds.")
        self._inside += 1
        try:
            async with asyncio.timeout(self.limits.read_s):
                body = await read()
        except BaseException as error:
            self._inside -= 1
            if isinstance(error, TimeoutError):
                raise UploadError(408, f"the body must arrive within {self.limits.read_s:g} s.") from None
            raise
        future = asyncio.get_running_loop().run_in_executor(self._workers, work, body)
        future.add_done_callback(self._leave)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.limits.answer_s)
        except TimeoutError:
            raise UploadError(504, f"the answer took longer than {self.limits.answer_s:g} s: send less.") from None

    def close(self) -> None:
        """Take no more work."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _leave(self, future: "asyncio.Future[Any]") -> None:
        self._inside -= 1
        if not future.cancelled():
            future.exception()  # looked at, or Python complains of those that nobody waited for


def make_service(model: Model, *, limits: Limits = Limits()) -> FastAPI:
    """Make the application that answers for ``model``."""
    facts, desk = model.facts, Desk(limits)

    @asynccontextmanager
    async def lifespan(_service: FastAPI) -> AsyncIterator[None]:
        yield
        desk.close()

    service = FastAPI(
        title="LesionForge model",
        version=__version__,
        description="A research model, no medical device. See MODEL_CARD.md beside the model.",
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses={status: {"model": Problem} for status in (408, 413, 422, 503, 504)},
    )

    @service.exception_handler(LesionForgeError)
    async def refuse(_request: Request, error: LesionForgeError) -> JSONResponse:
        status = error.status if isinstance(error, UploadError) else 422
        headers = {"Retry-After": BUSY_FOR_S} if status == 503 else {}
        return JSONResponse({"error": str(error)}, status, headers)

    @service.exception_handler(ClientDisconnect)
    async def hung_up(_request: Request, _error: ClientDisconnect) -> Response:
        return Silence()

    @service.get("/model")
    async def describe() -> Facts:
        """What the model knows, and what patches it takes."""
        return Facts(**model.summary)

    @service.post("/patches", openapi_extra={"requestBody": {"required": True, "content": NPY}})
    async def answer_patches(
        request: Request,
        spacing_mm: Annotated[list[FiniteFloat] | None, Query(description="Pixel along [z,] y and x.")] = None,
    ) -> Answers:
        """Answer about one patch or several: an array as numpy.save writes it, [N,] [z,] y, x in the model's unit."""
        if spacing_mm is not None and (len(spacing_mm) != len(facts.shape) or min(spacing_mm) <= 0):
            raise UploadError(422, f"spacing_mm must be {len(facts.shape)} numbers above 0, or left out.")

        def work(body: bytes) -> Answers:
            images = read_array(body, facts.shape, limits)
            known = float("nan") if spacing_mm is None else [spacing_mm] * len(images)
            return _answers(
                model, Patches.of(images, patient=[UNKNOWN] * len(images), spacing_mm=known, unit=facts.window.unit)
            )

        return await desk.serve(partial(_in_memory, request, most_array_bytes(facts.shape, limits)), work)

    @service.post("/scans", openapi_extra={"requestBody": {"required": True, "content": ZIP}})
    async def answer_scan(request: Request, x: FiniteFloat, y: FiniteFloat, z: FiniteFloat) -> Answers:
        """Answer about a point, in mm to the left, back and head (LPS), of a zipped DICOM series."""

        def work(archive: BinaryIO) -> Answers:
            with archive, tempfile.TemporaryDirectory() as folder:
                wanted = {"shape": facts.shape, "spacing_mm": facts.spacing_mm}
                return _answers(model, read_patch(archive, Path(folder), (x, y, z), limits, **wanted))

        return await desk.serve(partial(_on_disk, request, limits.archive_bytes), work)

    return service


def _answers(model: Model, patches: Patches) -> Answers:
    return Answers(answers=[Answer(**row) for row in model.answer(patches).to_json()])


async def _in_memory(request: Request, most_bytes: int) -> bytes:
    return b"".join([part async for part in _parts(request, most_bytes)])


async def _on_disk(request: Request, most_bytes: int) -> BinaryIO:
    archive = tempfile.TemporaryFile()  # noqa: SIM115 (whoever works on it closes it)
    try:
        async for part in _parts(request, most_bytes):
            await asyncio.to_thread(archive.write, part)
    except BaseException:
        archive.close()
        raise
    return archive


async def _parts(request: Request, most_bytes: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes; raise UploadError as soon as it is too large, or says that it will be."""
    too_large = UploadError(413, f"the body must have at most {most_bytes} bytes.")
    said = request.headers.get("content-length", "0")
    if not said.isdecimal() or len(said) > MOST_DIGITS or int(said) > most_bytes:
        raise too_large
    left = most_bytes
    async for part in request.stream():
        left -= len(part)
        if left < 0:
            raise too_large
        yield part
