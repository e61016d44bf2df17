"""Serving a study with uvicorn: one process, which SQLite and the rate limits are made for."""

from pathlib import Path

import uvicorn

from lesionforge.reader_study.database import Database
from lesionforge.reader_study.ledger import Ledger
from lesionforge.reader_study.study import Study
from lesionforge.reader_study.web.app import make_app
from lesionforge.reader_study.web.connection import Connection
from lesionforge.reader_study.web.operations import log_to_stderr
from lesionforge.reader_study.web.site import Site


def serve(study: Path, *, site: Site, host: str, port: int, database: str = "") -> None:
    """Serve the study in that folder until interrupted. A proxy on this machine is believed about whom it asks for."""
    ledger = Ledger(Study.open(study), Database.open(study, database))
    log_to_stderr()
    uvicorn.run(
        make_app(ledger, site=site),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http=Connection,
        ws="none",
        timeout_keep_alive=10,
        limit_concurrency=site.at_once,
        proxy_headers=True,
        forwarded_allow_ips="127.0.0.1",
    )
