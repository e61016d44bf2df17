"""Alembic runs this with the connection that `lesionforge.reader_study.database` gives it."""

from alembic import context

from lesionforge.reader_study.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
