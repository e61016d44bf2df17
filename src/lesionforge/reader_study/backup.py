"""A back-up: the study's folder and every row of its database, whole and checked, taken while the study runs.

Rows are written as JSON lines, so a back-up of SQLite can be restored into PostgreSQL and the other way round.
Invitations and sessions are left out: after a restore readers are invited anew.
"""

import json
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.reader_study import tables
from lesionforge.reader_study.database import Database
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import MANIFEST, PIXELS, Study
from lesionforge.storage import check_files, describe_files, new_folder, read_manifest, write_json

FORMAT, VERSION = "lesionforge-reader-study-back-up", 1
ROWS, ABOUT = "rows.jsonl", "backup.json"
KEPT = (tables.study, tables.reader, tables.slot, tables.showing, tables.answer)  # in the order of their references


def back_up(study: Path, database: Database, out: Path) -> int:
    """Write the folder ``out``; return how many answers it holds. All rows are of one moment.

    Raises
    ------
    StorageError
        ``out`` exists, or the disk refuses.
    """
    with new_folder(out) as folder:
        for name in (MANIFEST, PIXELS):
            shutil.copyfile(study / name, folder / name)
        with database.reading() as connection, (folder / ROWS).open("w", encoding="utf-8") as stream:
            answers = 0
            for table in KEPT:
                for row in connection.execute(table.select()).mappings():
                    stream.write(json.dumps({"table": table.name, "row": dict(row)}, ensure_ascii=True) + "\n")
                    answers += table is tables.answer
        about = {"format": FORMAT, "version": VERSION, "taken": datetime.now(UTC).isoformat(timespec="seconds")}
        write_json(folder / ABOUT, about | {"answers": answers, "files": describe_files(folder)})
    out.chmod(0o700)
    return answers


def restore(backup: Path, out: Path, *, url: str = "") -> Ledger:
    """Make a study's folder and fill its empty database from a back-up.

    Raises
    ------
    LesionForgeError
        The database holds a study's answers already.
    StorageError
        The back-up was changed or cut short, or ``out`` exists, or the disk refuses.
    """
    about = read_manifest(backup / ABOUT, of="a back-up of a reader study", format_=FORMAT, version=VERSION)
    check_files(backup, about["files"])
    rows = _rows(backup / ROWS)
    with new_folder(out) as folder:
        for name in (MANIFEST, PIXELS):
            shutil.copyfile(backup / name, folder / name)
        database = Database.open(folder, url)
        try:
            with database.writing() as connection:
                _fill(connection, rows)
        finally:
            database.close()
    out.chmod(0o700)
    return Ledger(Study.open(out), Database.open(out, url))


def _fill(connection: sa.Connection, rows: Mapping[str, list[dict[str, Any]]]) -> None:
    if connection.execute(sa.select(tables.study.c.id)).scalar() is not None:
        raise LesionForgeError("a back-up is restored into an empty database, but this one holds answers.")
    closed_at = [row.pop("closed_at") for row in rows["study"]]
    for table in KEPT:
        if rows[table.name]:
            values = [row | {"closed_at": None} for row in rows["study"]] if table is tables.study else rows[table.name]
            connection.execute(table.insert(), values)
    for at in closed_at:  # last: a closed study takes no answers
        if at is not None:
            connection.execute(tables.study.update().values(closed_at=at))


def _rows(file: Path) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {table.name: [] for table in KEPT}
    try:
        for line in file.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            rows[entry["table"]].append(entry["row"])
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{file} must hold rows written by back-up, but {error}.") from error
    return rows
