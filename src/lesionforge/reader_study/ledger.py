"""Who is invited, who is who, what comes next, and the answers: every rule about them in one place.

A reader sees only the first item of their list that has no answer. An answer is to that item or to none; it is on the
disk before the next item is named. Sent again after a lost reply, it is acknowledged and kept once; another answer to
the same item is refused.
"""

import json
import time
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study import overview, tables, tokens
from lesionforge.reader_study.database import Database, bind
from lesionforge.reader_study.given import Given, RefusedError, check
from lesionforge.reader_study.reading_list import reading_list
from lesionforge.reader_study.study import Study

DAY_MS = 24 * 3600 * 1000
INVITATION_MS, DEVICE_MS, SESSION_MS = 30 * DAY_MS, DAY_MS // 96, 30 * DAY_MS
LONGEST_NAME = 80


@dataclass(frozen=True)
class Person:
    """Whose session it is; the owner has no reader's number."""

    reader: int | None


@dataclass(frozen=True)
class Now:
    """Where a reader stands: the item to answer, if any, and how far they are."""

    state: str  # item, done or closed
    slot: str
    kind: str
    batch: int  # counted from 1 in the reader's own order; 0 while training
    begins: bool  # whether it is the first of its batch
    done: int
    total: int
    score: tuple[bool, ...] = field(default=())  # of teaching mode: right or wrong, in order


class Ledger:
    """A study's readers and answers."""

    def __init__(self, study: Study, database: Database) -> None:
        self.study = study
        self.database = database
        with database.writing() as connection:
            bind(connection, study.digest)

    def invite(self, name: str) -> str:
        """Add a reader, or ask a known one again; return an invitation. Their earlier ones end, and their sessions."""
        name = name.strip()
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise LesionForgeError(f"a reader needs a printable name of at most {LONGEST_NAME} letters.")
        reader, slot = tables.reader, tables.slot
        with self.database.writing() as connection:
            connection.execute(sa.select(tables.study.c.id).with_for_update())  # one invitation at a time
            if _closed(connection):
                raise LesionForgeError("the study is closed: it takes no more readers.")
            number = connection.execute(sa.select(reader.c.id).where(reader.c.name == name)).scalar()
            if number is None:
                number = connection.execute(sa.select(sa.func.count()).select_from(reader)).scalar_one()
                connection.execute(reader.insert().values(id=number, name=name, invited_at=_now_ms()))
                rows = [
                    {"id": tokens.new_slot(), "reader_id": number, "place": place, **vars(showing)}
                    for place, showing in enumerate(reading_list(self.study, number))
                ]
                connection.execute(slot.insert(), rows)
            connection.execute(tables.session.delete().where(tables.session.c.reader_id == number))
            return _invitation(connection, number, INVITATION_MS)

    def invite_owner(self) -> str:
        """Return an invitation to the owner's page."""
        with self.database.writing() as connection:
            return _invitation(connection, None, INVITATION_MS)

    def invite_to_another_device(self, person: Person) -> str:
        """Return an invitation for the same person, for some minutes."""
        with self.database.writing() as connection:
            return _invitation(connection, person.reader, DEVICE_MS)

    def redeem(self, invitation: str) -> tuple[str, Person]:
        """Use an invitation up; return the session's cookie and whose it is."""
        table, digest, now = tables.invitation, tokens.invitation_digest(invitation), _now_ms()
        with self.database.writing() as connection:
            used = connection.execute(
                table.update()
                .where(table.c.digest == digest, table.c.used_at.is_(None), table.c.expires_at > now)
                .values(used_at=now)
            )
            if used.rowcount != 1:
                raise RefusedError(
                    403, "this invitation is not valid, was used before, or has expired: ask for another."
                )
            reader = connection.execute(sa.select(table.c.reader_id).where(table.c.digest == digest)).scalar()
            cookie = tokens.new_session()
            connection.execute(
                tables.session.insert().values(
                    digest=tokens.session_digest(cookie), reader_id=reader, expires_at=now + SESSION_MS
                )
            )
        return cookie, Person(reader)

    def person(self, cookie: str) -> Person | None:
        """Whose session a cookie is, if any."""
        table = tables.session
        with self.database.reading() as connection:
            found = connection.execute(
                sa.select(table.c.reader_id).where(
                    table.c.digest == tokens.session_digest(cookie), table.c.expires_at > _now_ms()
                )
            ).one_or_none()
        return None if found is None else Person(found.reader_id)

    def leave(self, cookie: str) -> None:
        """End a session."""
        table = tables.session
        with self.database.writing() as connection:
            connection.execute(table.delete().where(table.c.digest == tokens.session_digest(cookie)))

    def now(self, reader: int) -> Now:
        """Where a reader stands."""
        with self.database.reading() as connection:
            return self._now(connection, reader)

    def item(self, reader: int, slot: str) -> int:
        """Number of the item to be shown; notes when it was first asked for.

        Raises
        ------
        RefusedError
            The slot is another reader's, or not the one to be answered now, or the study is closed.
        """
        showing = tables.showing
        with self.database.reading() as connection:
            row = self._next(connection, reader)
            if row is None or row.id != slot or _closed(connection):
                raise RefusedError(404, "there is no such item to be read now: load the page again.")
            shown = connection.execute(sa.select(showing.c.at).where(showing.c.slot_id == slot)).scalar()
        if shown is None:
            try:
                with self.database.writing() as connection:
                    connection.execute(showing.insert().values(slot_id=slot, at=_now_ms()))
            except sa.exc.IntegrityError:  # asked for twice at once
                pass
        return int(row.item)

    def answer(self, reader: int, slot: str, given: Given) -> tuple[dict[str, Any] | None, Now]:
        """Keep an answer; return the feedback, where there is any, and what comes next.

        Raises
        ------
        RefusedError
            The answer is not one to the item that is to be read now, or does not fit the study.
        """
        check(given, self.study)
        table = tables.answer
        values = {
            "rating": given.rating,
            "label": given.label,
            "comment": given.comment,
            "region": json.dumps(given.region) if given.region else "",
        }
        with self.database.writing() as connection:
            connection.execute(sa.select(tables.reader.c.id).where(tables.reader.c.id == reader).with_for_update())
            row = self._next(connection, reader)
            if row is None or row.id != slot:
                row = self._answered(connection, reader, slot, values)
            elif _closed(connection, hold=True):
                raise RefusedError(409, "the study is closed: it takes no more answers.")
            else:
                kept = values | {"slot_id": slot, "active_ms": given.active_ms, "at": _now_ms()}
                connection.execute(table.insert().values(kept))
        feedback = self._feedback(row, given)
        return feedback, self.now(reader)

    def close(self) -> bool:
        """Freeze the study; return whether it was open."""
        with self.database.writing() as connection:
            if _closed(connection):
                return False
            connection.execute(tables.study.update().values(closed_at=_now_ms()))
            return True

    @property
    def closed(self) -> bool:
        """Whether the study takes no more answers."""
        with self.database.reading() as connection:
            return _closed(connection)

    def progress(self) -> list[dict[str, Any]]:
        """How far each reader is, without a word on how well."""
        with self.database.reading() as connection:
            return overview.progress(connection)

    def answers(self) -> list[dict[str, Any]]:
        """Every answer with its item's number, in each reader's order."""
        with self.database.reading() as connection:
            return overview.answers(connection)

    def _now(self, connection: sa.Connection, reader: int) -> Now:
        slot, answer = tables.slot, tables.answer
        rows = connection.execute(
            sa.select(slot.c.id, slot.c.kind, slot.c.batch, slot.c.item, answer.c.rating)
            .select_from(slot.outerjoin(answer))
            .where(slot.c.reader_id == reader)
            .order_by(slot.c.place)
        ).all()
        done = sum(row.rating is not None for row in rows)
        score = tuple(self._right(row.item, row.rating) for row in rows[:done]) if self.study.design.teaching else ()
        if _closed(connection) or done == len(rows):
            state = "done" if done == len(rows) else "closed"
            return Now(state, slot="", kind="", batch=0, begins=False, done=done, total=len(rows), score=score)
        now = rows[done]  # those before it are answered: none is passed over
        batches = list(dict.fromkeys(row.batch for row in rows if row.batch >= 0))
        begins = done == 0 or rows[done - 1].batch != now.batch
        number = batches.index(now.batch) + 1 if now.batch >= 0 else 0
        kind = "training" if now.kind == "training" else "reading"  # a repeat must not be told from a first showing
        return Now("item", now.id, kind, number, begins, done, len(rows), score)

    def _next(self, connection: sa.Connection, reader: int) -> Any:
        slot, answer = tables.slot, tables.answer
        return connection.execute(
            sa.select(slot.c.id, slot.c.item, slot.c.kind, slot.c.batch)
            .select_from(slot.outerjoin(answer))
            .where(slot.c.reader_id == reader, answer.c.slot_id.is_(None))
            .order_by(slot.c.place)
            .limit(1)
        ).one_or_none()

    def _answered(self, connection: sa.Connection, reader: int, slot: str, values: dict[str, Any]) -> Any:
        """Return the slot that was answered like this before; refuse anything else."""
        table, answer = tables.slot, tables.answer
        row = connection.execute(
            sa.select(table.c.item, table.c.kind, *(answer.c[name] for name in values))
            .select_from(table.join(answer))
            .where(table.c.id == slot, table.c.reader_id == reader)
        ).one_or_none()
        if row is None:
            raise RefusedError(404, "there is no such item to be read now: load the page again.")
        if any(row._mapping[name] != value for name, value in values.items()):
            raise RefusedError(409, "this item has an answer, which stays as it was given.")
        return row

    def _right(self, item: int, rating: int) -> bool:
        return (rating >= len(self.study.design.words) / 2) == self.study.items[item].real

    def _feedback(self, row: Any, given: Given) -> dict[str, Any] | None:
        if row.kind != "training" and not self.study.design.teaching:
            return None
        item = self.study.items[row.item]
        return {
            "real": item.real,
            "right": self._right(row.item, given.rating),
            "label": item.label if self.study.design.ask_class else "",
        }


def _invitation(connection: sa.Connection, reader: int | None, lasts_ms: int) -> str:
    """Write an invitation; the same person's earlier ones end."""
    table, now = tables.invitation, _now_ms()
    same = table.c.reader_id.is_(None) if reader is None else table.c.reader_id == reader
    connection.execute(table.update().where(same, table.c.used_at.is_(None)).values(used_at=now))
    made = tokens.new_invitation()
    digest = tokens.invitation_digest(made)
    connection.execute(table.insert().values(digest=digest, reader_id=reader, expires_at=now + lasts_ms))
    return made


def _closed(connection: sa.Connection, *, hold: bool = False) -> bool:
    """Whether the study is closed; ``hold`` keeps it from being closed until the transaction ends."""
    query = sa.select(tables.study.c.closed_at)
    return connection.execute(query.with_for_update(read=True) if hold else query).scalar() is not None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
