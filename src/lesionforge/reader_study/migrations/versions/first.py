"""The first tables, and triggers that refuse to change or remove an answer, or to add one to a closed study."""

import sqlalchemy as sa
from alembic import op

revision = "first"
down_revision = None

ADDED_ONLY = ("slot", "showing", "answer")


def upgrade() -> None:
    """Make everything."""
    op.create_table(
        "study",
        sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="only_one_study"), primary_key=True),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("closed_at", sa.BigInteger),
    )
    op.create_table(
        "reader",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("invited_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "invitation",
        sa.Column("digest", sa.String(48), primary_key=True),
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id")),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("used_at", sa.BigInteger),
    )
    op.create_table(
        "session",
        sa.Column("digest", sa.String(48), primary_key=True),
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id")),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "slot",
        sa.Column("id", sa.String(24), primary_key=True),
        sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), nullable=False),
        sa.Column("place", sa.Integer, nullable=False),
        sa.Column("item", sa.Integer, nullable=False),
        sa.Column("kind", sa.String(8), nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.UniqueConstraint("reader_id", "place", name="one_item_a_place"),
    )
    op.create_table(
        "showing",
        sa.Column("slot_id", sa.String(24), sa.ForeignKey("slot.id"), primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "answer",
        sa.Column("slot_id", sa.String(24), sa.ForeignKey("slot.id"), primary_key=True),
        sa.Column("rating", sa.Integer, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("region", sa.Text, nullable=False),
        sa.Column("active_ms", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
    )
    statements = _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.execute(statement)


def _sqlite() -> list[str]:
    refused = [
        f"CREATE TRIGGER {table}_never_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is added to only'); END"
        for table in ADDED_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    reopened = (
        "CREATE TRIGGER study_stays_closed BEFORE UPDATE ON study WHEN OLD.closed_at IS NOT NULL "
        "BEGIN SELECT RAISE(ABORT, 'the study is closed'); END"
    )
    frozen = (
        "CREATE TRIGGER answer_while_open BEFORE INSERT ON answer "
        "WHEN (SELECT closed_at FROM study) IS NOT NULL BEGIN SELECT RAISE(ABORT, 'the study is closed'); END"
    )
    return [*refused, reopened, frozen]


def _postgresql() -> list[str]:
    refuse = (
        "CREATE FUNCTION added_to_only() RETURNS trigger AS $$ "
        "BEGIN RAISE EXCEPTION '% is added to only', TG_TABLE_NAME; END $$ LANGUAGE plpgsql"
    )
    refused = [
        f"CREATE TRIGGER {table}_added_to_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION added_to_only()"
        for table in ADDED_ONLY
    ]
    closed = (
        "CREATE FUNCTION study_is_closed() RETURNS trigger AS $$ "
        "BEGIN IF (SELECT closed_at FROM study) IS NOT NULL THEN RAISE EXCEPTION 'the study is closed'; END IF; "
        "RETURN NEW; END $$ LANGUAGE plpgsql"
    )
    reopened = (
        "CREATE TRIGGER study_stays_closed BEFORE UPDATE ON study FOR EACH ROW EXECUTE FUNCTION study_is_closed()"
    )
    frozen = "CREATE TRIGGER answer_while_open BEFORE INSERT ON answer FOR EACH ROW EXECUTE FUNCTION study_is_closed()"
    return [refuse, *refused, closed, reopened, frozen]
