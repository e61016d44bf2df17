"""The application: pages, what they ask for, and what operators ask for.

Nothing is uploaded, nothing comes from another origin, and no answer or error repeats what was sent. An item is served
to the reader who is to read it now, and to nobody else; all items are as many bytes, uncompressed, kept by no cache.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import jinja2
from fastapi import Depends, FastAPI, Header, Request
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from lesionforge import __version__
from lesionforge.reader_study import tokens
from lesionforge.reader_study.given import Given, RefusedError
from lesionforge.reader_study.ledger import DEVICE_MS, SESSION_MS, Ledger, Now, Person
from lesionforge.reader_study.web import messages as say
from lesionforge.reader_study.web.guard import Guard
from lesionforge.reader_study.web.operations import LOG, Metrics, Watch
from lesionforge.reader_study.web.rates import RateLimit
from lesionforge.reader_study.web.site import Site

HERE = Path(__file__).parent
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": say.Problem} for status in (400, 401, 403, 404, 408, 409, 413, 421, 422, 429, 503)
}
Slot = Annotated[str, InPath(pattern=say.SLOT)]


def make_app(ledger: Ledger, *, site: Site) -> FastAPI:
    """Make the application of one study."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        ledger.database.close()

    app = FastAPI(
        title="LesionForge reader study",
        version=__version__,
        docs_url=None,  # their pages would load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
        responses=PROBLEMS,
    )
    metrics = Metrics()
    app.add_middleware(Guard, site=site)
    app.add_middleware(Watch, metrics=metrics)
    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    _answer_problems(app)
    door = Door(ledger, site)
    _add_pages(app, door)
    _add_reading(app, door)
    _add_owner(app, door)
    _add_operations(app, ledger, metrics)
    return app


class Door:
    """Who is asking."""

    def __init__(self, ledger: Ledger, site: Site) -> None:
        self.ledger, self.site = ledger, site
        self.joins = RateLimit(site.joins_per_minute / 60, site.joins_per_minute)
        self._sessions = RateLimit(site.requests_per_s, 3 * site.requests_per_s)

    def cookie(self, request: Request) -> str:
        """The session's cookie, or nothing."""
        return request.cookies.get(self.site.cookie, "")

    def visitor(self, request: Request) -> Person | None:
        """Whoever asks, known or not."""
        cookie = self.cookie(request)
        return self.ledger.person(cookie) if cookie else None

    def person(self, request: Request) -> Person:
        """Whoever asks; raise RefusedError for a stranger."""
        person = self.visitor(request)
        if person is None:
            raise RefusedError(401, "sign in with an invitation first.")
        if not self._sessions.allows(tokens.session_digest(self.cookie(request))):
            raise RefusedError(429, "too many requests: wait some seconds.")
        return person

    def reader(self, request: Request) -> int:
        """Number of the reader who asks."""
        person = self.person(request)
        if person.reader is None:
            raise RefusedError(403, "this is for readers.")
        return person.reader

    def owner(self, request: Request) -> None:
        """Refuse all but the owner."""
        if self.person(request).reader is not None:
            raise RefusedError(403, "this is for the study's owner.")

    def changing_reader(self, request: Request, x_csrf_token: Annotated[str, Header()] = "") -> int:
        """Number of the reader whose page asks for a change."""
        reader = self.reader(request)
        if x_csrf_token != tokens.csrf_token(self.cookie(request)):
            raise RefusedError(403, "the page is out of date: load it again.")
        return reader


def _answer_problems(app: FastAPI) -> None:
    @app.exception_handler(RefusedError)
    def refused(_request: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse({"error": str(error)}, error.status)

    @app.exception_handler(RequestValidationError)
    def unfit(_request: Request, _error: RequestValidationError) -> JSONResponse:
        return JSONResponse({"error": "the request does not fit what /openapi.json describes."}, 422)

    @app.exception_handler(HTTPException)
    def other(_request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": str(error.detail).lower()}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    def unforeseen(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"error": "something went wrong here: try again."}, 500)

    @app.exception_handler(SQLAlchemyError)
    def unavailable(_request: Request, error: SQLAlchemyError) -> JSONResponse:
        LOG.error("database", extra={"facts": {"error": type(error).__name__}})
        return JSONResponse({"error": "the study cannot be reached: try again."}, 503, {"Retry-After": "2"})


def _add_pages(app: FastAPI, door: Door) -> None:
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=jinja2.FileSystemLoader(HERE / "templates"),
    )
    study = door.ledger.study

    def page(name: str) -> HTMLResponse:
        shown = environment.get_template(f"{name}.html.j2")
        return HTMLResponse(shown.render(design=study.design, classes=study.classes, counts=study.counts))

    @app.get("/", include_in_schema=False)
    def front(request: Request) -> RedirectResponse:
        person = door.visitor(request)
        return RedirectResponse("/join" if person is None else "/owner" if person.reader is None else "/read", 303)

    @app.get("/join", include_in_schema=False)
    def join() -> HTMLResponse:
        return page("join")

    @app.get("/read", include_in_schema=False, response_model=None)
    def read(request: Request) -> Response:
        person = door.visitor(request)
        return RedirectResponse("/", 303) if person is None or person.reader is None else page("read")

    @app.get("/owner", include_in_schema=False, response_model=None)
    def owner(request: Request) -> Response:
        person = door.visitor(request)
        return RedirectResponse("/", 303) if person is None or person.reader is not None else page("owner")


def _add_reading(app: FastAPI, door: Door) -> None:
    ledger, site = door.ledger, door.site
    study, design = ledger.study, ledger.study.design
    item_bytes = study.pixels[0].nbytes
    Reader = Annotated[int, Depends(door.reader)]  # noqa: N806 (a type)
    Changing = Annotated[int, Depends(door.changing_reader)]  # noqa: N806

    @app.post("/api/join")
    def join(asked: say.Invitation, request: Request, response: Response) -> say.Welcome:
        """Use an invitation up; the cookie that comes back is the session."""
        if not door.joins.allows(request.client.host if request.client else ""):
            raise RefusedError(429, "too many invitations were tried: wait a minute.")
        cookie, person = ledger.redeem(asked.invitation)
        response.set_cookie(
            site.cookie, cookie, max_age=SESSION_MS // 1000, httponly=True, secure=site.secure, samesite="strict"
        )
        return say.Welcome(page="/owner" if person.reader is None else "/read")

    @app.get("/api/study")
    def describe(reader: Reader, request: Request) -> say.StudyFacts:
        """What a page must know to show items and to ask."""
        del reader
        return say.StudyFacts(
            csrf=tokens.csrf_token(door.cookie(request)),
            words=list(design.words),
            classes=list(study.classes) if design.ask_class else [],
            ask_comment=design.ask_comment,
            ask_region=design.ask_region,
            teaching=design.teaching,
            shape=list(study.pixels.shape[1:]),
            unit=study.unit,
            window=design.window,
            presets=study.presets,
        )

    @app.get("/api/now")
    def now(reader: Reader) -> say.NowFacts:
        """Where the reader stands."""
        return _now(ledger.now(reader))

    @app.get("/api/items/{slot}", response_class=Response)
    def item(slot: Slot, reader: Reader) -> Response:
        """Give the item to be read now: whole numbers [z, y, x] of 16 bits, the lowest byte first."""
        content = study.pixels[ledger.item(reader, slot)].tobytes()
        assert len(content) == item_bytes
        return Response(content, media_type="application/octet-stream")

    @app.post("/api/answers")
    def answer(given: say.GivenAnswer, reader: Changing) -> say.Acknowledged:
        """Keep the answer to the item to be read now. It is on the disk when this comes back."""
        kept = given.model_dump(exclude={"slot"}) | {"region": tuple(given.region)}
        feedback, following = ledger.answer(reader, given.slot, Given(**kept))
        return say.Acknowledged(feedback=None if feedback is None else say.Feedback(**feedback), now=_now(following))

    @app.post("/api/device")
    def device(reader: Changing) -> say.DeviceInvitation:
        """Invite the same reader to go on with another device."""
        made = ledger.invite_to_another_device(Person(reader))
        return say.DeviceInvitation(invitation=made, link=site.invitation_link(made), minutes=DEVICE_MS // 60_000)

    @app.post("/api/leave")
    def leave(reader: Changing, request: Request, response: Response) -> say.Welcome:
        """End the session."""
        del reader
        ledger.leave(door.cookie(request))
        response.delete_cookie(site.cookie, httponly=True, secure=site.secure, samesite="strict")
        return say.Welcome(page="/join")


def _add_owner(app: FastAPI, door: Door) -> None:
    @app.get("/api/progress", dependencies=[Depends(door.owner)])
    def progress() -> say.Progress:
        """How far all readers are; nothing about what they answered."""
        rows = [say.ReaderProgress(**row) for row in door.ledger.progress()]
        return say.Progress(closed=door.ledger.closed, readers=rows)


def _add_operations(app: FastAPI, ledger: Ledger, metrics: Metrics) -> None:
    @app.get("/health")
    def health() -> dict[str, str]:
        """Whether the study can be read and its database answers."""
        return {"status": "closed" if ledger.closed else "open"}

    @app.get("/metrics", response_class=PlainTextResponse)
    def measured(request: Request, x_forwarded_for: Annotated[str, Header()] = "") -> PlainTextResponse:
        """Numbers for Prometheus, for this machine alone."""
        if x_forwarded_for or not request.client or request.client.host not in {"127.0.0.1", "::1"}:
            raise RefusedError(404, "not found")
        done = sum(row["done"] for row in ledger.progress())
        answers = ["# TYPE lesionforge_answers gauge", f"lesionforge_answers {done}"]
        return PlainTextResponse("\n".join([*metrics.lines(), *answers]) + "\n")


def _now(now: Now) -> say.NowFacts:
    return say.NowFacts(**asdict(now) | {"score": list(now.score)})
