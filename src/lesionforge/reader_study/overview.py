"""What the database holds, seen from above: how far readers are, and all that they answered."""

from typing import Any

import sqlalchemy as sa

from lesionforge.reader_study import tables


def progress(connection: sa.Connection) -> list[dict[str, Any]]:
    """How far each reader is, without a word on how well."""
    reader, slot, answer = tables.reader, tables.slot, tables.answer
    query = (
        sa.select(
            reader.c.name,
            sa.func.count(answer.c.slot_id).label("done"),
            sa.func.count(slot.c.id).label("total"),
            sa.func.max(answer.c.at).label("last_at"),
            sa.func.avg(answer.c.active_ms).label("mean_ms"),
        )
        .select_from(reader.join(slot, slot.c.reader_id == reader.c.id).outerjoin(answer))
        .group_by(reader.c.id, reader.c.name)
        .order_by(reader.c.id)
    )
    rows = connection.execute(query).mappings()
    return [dict(row) | {"mean_ms": None if row["mean_ms"] is None else float(row["mean_ms"])} for row in rows]


def answers(connection: sa.Connection) -> list[dict[str, Any]]:
    """Every answer with its item's number, in each reader's order."""
    reader, slot, answer, showing = tables.reader, tables.slot, tables.answer, tables.showing
    query = (
        sa.select(
            reader.c.name.label("reader"),
            slot.c.place,
            slot.c.kind,
            slot.c.batch,
            slot.c.item,
            answer.c.rating,
            answer.c.label.label("answered_class"),
            answer.c.comment,
            answer.c.region,
            answer.c.active_ms,
            showing.c.at.label("first_shown_at_ms"),
            answer.c.at.label("answered_at_ms"),
        )
        .select_from(
            answer.join(slot, answer.c.slot_id == slot.c.id)
            .join(reader, slot.c.reader_id == reader.c.id)
            .outerjoin(showing, showing.c.slot_id == slot.c.id)
        )
        .order_by(reader.c.id, slot.c.place)
    )
    return [dict(row) for row in connection.execute(query).mappings()]
