"""Tables, on both kinds of database: made as described, added to only, one study each."""

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.reader_study import tables
from lesionforge.reader_study.database import Database, bind
from lesionforge.reader_study.given import Given


@pytest.fixture
def ledger(make_ledger, url):
    return make_ledger(url=url)


def test_migrations_make_the_tables_that_the_code_knows(ledger):
    with ledger.database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, tables.metadata) == []


def test_answers_are_added_to_only_whoever_tries(ledger, read):
    read(ledger, "one", lambda _item: Given(rating=1))
    before = ledger.answers()
    for table in ("answer", "showing", "slot"):
        for statement in (f"DELETE FROM {table}", f"UPDATE {table} SET " + _any_change(table)):
            with pytest.raises(sa.exc.DBAPIError, match="added to only"), ledger.database.writing() as connection:
                connection.exec_driver_sql(statement)
    ledger.close()
    with pytest.raises(sa.exc.DBAPIError, match="closed"), ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE study SET closed_at = NULL")
    with pytest.raises(sa.exc.DBAPIError, match="closed"), ledger.database.writing() as connection:  # noqa: PT012
        connection.execute(tables.slot.insert().values(id="x", reader_id=0, place=999, item=0, kind="reading", batch=0))
        values = {"slot_id": "x", "rating": 0, "label": "", "comment": "", "region": "", "active_ms": 0, "at": 0}
        connection.execute(tables.answer.insert().values(values))
    assert ledger.answers() == before


def _any_change(table):
    return {"answer": "rating = 0", "showing": "at = 0", "slot": "item = 0"}[table]


def test_a_failed_transaction_leaves_nothing(ledger):
    with pytest.raises(ZeroDivisionError), ledger.database.writing() as connection:  # noqa: PT012
        connection.execute(tables.reader.insert().values(id=7, name="half", invited_at=0))
        raise ZeroDivisionError
    assert ledger.progress() == []


def test_a_database_is_one_studys(ledger):
    with pytest.raises(LesionForgeError, match="another study's"), ledger.database.writing() as connection:
        bind(connection, "other")


def test_what_is_no_database_of_ours_is_refused(tmp_path, make_ledger):
    for wrong, complaint in (("nonsense", "is named like"), ("mysql://localhost/x", "sqlite or postgresql")):
        with pytest.raises(LesionForgeError, match=complaint):
            Database.open(tmp_path, wrong)
    with pytest.raises(StorageError, match="reachable"):
        Database.open(tmp_path / "nowhere")
    ledger = make_ledger()
    with ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'later'")
    with pytest.raises(StorageError, match="newer LesionForge"):
        Database.open(tmp_path / "study")


def test_no_message_holds_a_password(tmp_path):
    pytest.importorskip("psycopg")
    with pytest.raises(StorageError) as raised:
        Database.open(tmp_path, "postgresql://someone:sesame@127.0.0.1:9/none?connect_timeout=2")
    assert "sesame" not in str(raised.value)
    assert raised.value.__cause__ is None
