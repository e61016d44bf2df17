"""The database's tables. Answers, showings and slots are only ever added: triggers refuse all else.

Times are milliseconds since 1970. ``migrations`` makes the tables; a test holds that both agree.
"""

import sqlalchemy as sa

metadata = sa.MetaData()

study = sa.Table(
    "study",
    metadata,
    sa.Column("id", sa.Integer, sa.CheckConstraint("id = 1", name="only_one_study"), primary_key=True),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("closed_at", sa.BigInteger),
)
reader = sa.Table(
    "reader",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),  # from 0: it decides the order of items
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("invited_at", sa.BigInteger, nullable=False),
)
invitation = sa.Table(
    "invitation",
    metadata,
    sa.Column("digest", sa.String(48), primary_key=True),
    sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id")),  # none: the owner
    sa.Column("expires_at", sa.BigInteger, nullable=False),
    sa.Column("used_at", sa.BigInteger),
)
session = sa.Table(
    "session",
    metadata,
    sa.Column("digest", sa.String(48), primary_key=True),
    sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id")),
    sa.Column("expires_at", sa.BigInteger, nullable=False),
)
slot = sa.Table(
    "slot",
    metadata,
    sa.Column("id", sa.String(24), primary_key=True),
    sa.Column("reader_id", sa.Integer, sa.ForeignKey("reader.id"), nullable=False),
    sa.Column("place", sa.Integer, nullable=False),
    sa.Column("item", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(8), nullable=False),
    sa.Column("batch", sa.Integer, nullable=False),
    sa.UniqueConstraint("reader_id", "place", name="one_item_a_place"),
)
showing = sa.Table(
    "showing",
    metadata,
    sa.Column("slot_id", sa.String(24), sa.ForeignKey("slot.id"), primary_key=True),
    sa.Column("at", sa.BigInteger, nullable=False),
)
answer = sa.Table(
    "answer",
    metadata,
    sa.Column("slot_id", sa.String(24), sa.ForeignKey("slot.id"), primary_key=True),
    sa.Column("rating", sa.Integer, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("comment", sa.Text, nullable=False),
    sa.Column("region", sa.Text, nullable=False),  # JSON, or nothing
    sa.Column("active_ms", sa.BigInteger, nullable=False),
    sa.Column("at", sa.BigInteger, nullable=False),
)
