"""Back-ups: whole, of one moment, from and to both kinds of database."""

import pytest

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.reader_study.backup import back_up, restore
from lesionforge.reader_study.given import Given


@pytest.fixture
def filled(make_ledger, read):
    ledger = make_ledger(ask_comment=True)
    read(ledger, "one", lambda item: Given(item % 4, comment=f"ä\n{item}"))
    ledger.redeem(ledger.invite("two"))
    return ledger


def test_what_is_restored_is_what_was_there(filled, tmp_path, url):
    assert back_up(tmp_path / "study", filled.database, tmp_path / "copy") == 16
    restored = restore(tmp_path / "copy", tmp_path / "again", url=url)
    assert restored.answers() == filled.answers()
    assert restored.progress() == filled.progress()
    assert restored.study.digest == filled.study.digest
    _, person = restored.redeem(restored.invite("two"))
    slot = restored.now(person.reader).slot
    assert slot == filled.now(person.reader).slot
    restored.answer(person.reader, slot, Given(1))
    restored.database.close()


def test_a_closed_study_stays_closed(filled, tmp_path):
    filled.close()
    back_up(tmp_path / "study", filled.database, tmp_path / "copy")
    restored = restore(tmp_path / "copy", tmp_path / "again")
    assert restored.closed
    restored.database.close()


def test_postgresql_goes_back_into_sqlite(make_ledger, read, fresh_postgres, tmp_path):
    ledger = make_ledger(url=fresh_postgres)
    read(ledger, "one", lambda item: Given(item % 4))
    back_up(tmp_path / "study", ledger.database, tmp_path / "copy")
    restored = restore(tmp_path / "copy", tmp_path / "again")
    assert restored.answers() == ledger.answers()
    restored.database.close()
    with pytest.raises(LesionForgeError, match="empty database"):
        restore(tmp_path / "copy", tmp_path / "third", url=fresh_postgres)
    assert not (tmp_path / "third").exists()


def test_secrets_are_not_backed_up(filled, tmp_path):
    back_up(tmp_path / "study", filled.database, tmp_path / "copy")
    rows = (tmp_path / "copy" / "rows.jsonl").read_text()
    assert '"table": "answer"' in rows
    assert '"table": "session"' not in rows
    assert '"table": "invitation"' not in rows


def test_a_damaged_backup_is_refused(filled, tmp_path):
    back_up(tmp_path / "study", filled.database, tmp_path / "copy")
    with pytest.raises(StorageError, match="must not exist yet"):
        back_up(tmp_path / "study", filled.database, tmp_path / "copy")
    rows = tmp_path / "copy" / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"rating": 1', '"rating": 2', 1))
    with pytest.raises(StorageError, match="checksum"):
        restore(tmp_path / "copy", tmp_path / "again")
    assert not (tmp_path / "again").exists()
