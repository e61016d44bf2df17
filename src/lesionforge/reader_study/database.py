"""The database behind a study: SQLite in its folder, or PostgreSQL by one URL.

An answer that was acknowledged is on the disk: SQLite writes ahead (WAL) and waits for the disk at each commit, as
PostgreSQL does by itself. A transaction that will write takes SQLite's lock at its beginning, so two that read before
they write cannot both go on from the same state; on PostgreSQL whoever answers locks the reader's row instead.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.reader_study import tables

NEWEST = "first"
WAIT_S = 30
FILE = "answers.sqlite"


class Database:
    """Transactions on the tables, which are made or brought up to date when it is opened."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @classmethod
    def open(cls, study: Path, url: str = "") -> "Database":
        """Open the database of the study in that folder, or the one that ``url`` names.

        Raises
        ------
        LesionForgeError
            The URL names no database that can be had.
        StorageError
            It cannot be reached, or a newer LesionForge made it.
        """
        database = cls(_engine(study, url))
        try:
            with database.writing() as connection:
                _bring_up_to_date(connection)
        except SQLAlchemyError as error:
            database.close()
            raise StorageError(
                f"the study's database must be reachable and its tables may be made, but {_short(error)}."
            ) from None
        return database

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A transaction that sees one state throughout."""
        with self.engine.connect() as connection:
            repeatable = connection.execution_options(isolation_level="REPEATABLE READ") if self._served else connection
            with repeatable.begin():
                yield repeatable

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that is on the disk when the block ends without an error, and never was otherwise."""
        with self.engine.connect().execution_options(writes=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    @property
    def _served(self) -> bool:
        return self.engine.dialect.name != "sqlite"


def _engine(study: Path, url: str) -> sa.Engine:
    try:
        named = sa.make_url(url or f"sqlite:///{study / FILE}")
    except ArgumentError:
        raise LesionForgeError(
            "a database is named like postgresql://user@host/name, but something else came."
        ) from None
    if named.get_backend_name() == "sqlite":
        return _sqlite(named)
    if named.get_backend_name() != "postgresql":
        raise LesionForgeError(f"answers are kept in sqlite or postgresql, but {named.get_backend_name()} came.")
    try:
        importlib.import_module("psycopg")
    except ImportError:
        raise LesionForgeError("PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'.") from None
    # Parameters are comments and names: they belong into no log.
    return sa.create_engine(named.set(drivername="postgresql+psycopg"), pool_pre_ping=True, hide_parameters=True)


def _sqlite(url: sa.URL) -> sa.Engine:
    arguments = {"timeout": WAIT_S, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=arguments, hide_parameters=True)

    @sa.event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # Python's module would begin transactions in its own way
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    @sa.event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _bring_up_to_date(connection: sa.Connection) -> None:
    version = MigrationContext.configure(connection).get_current_revision()
    if version == NEWEST:
        return
    if version is not None:
        raise StorageError(f"the study's database is of version {version!r}, made by a newer LesionForge: update it.")
    config = Config()
    config.set_main_option("script_location", "lesionforge:reader_study/migrations")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def bind(connection: sa.Connection, digest: str) -> None:
    """Note whose answers these are; raise LesionForgeError if they are another study's."""
    known = connection.execute(sa.select(tables.study.c.digest)).scalar()
    if known is None:
        connection.execute(tables.study.insert().values(id=1, digest=digest))
    elif known != digest:
        raise LesionForgeError("the database holds another study's answers: name an empty one, or this study's.")


def _short(error: SQLAlchemyError) -> str:
    """The driver's first line: the whole may hold a password."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause).strip().partition("\n")[0] or type(error).__name__
