"""The documentation site builds without a warning, and asks no other server for anything."""

import functools
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

pytest.importorskip("mkdocs", reason="the extra docs is not installed")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
LOADED = re.compile(
    r'<(?:script|img|iframe|source)[^>]* src="?([^" >]+)|<link[^>]* rel="?(?!canonical|next|prev)[^>]* href="?([^" >]+)'
)
SHOWN = (
    "",
    "tutorial/",
    "how_to/new_method/",
    "architecture/",
    "traceability/",
    "reference/command_line/",
    "reference/data/",
)


@pytest.fixture(scope="module")
def site(root, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    # not --quiet, with which --strict does not count warnings
    command = (sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder))
    without_network = os.environ | {
        "NO_MKDOCS_2_WARNING": "1",
        "https_proxy": "http://127.0.0.1:9",
        "http_proxy": "http://127.0.0.1:9",
    }
    built = subprocess.run(command, cwd=root, env=without_network, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-3000:]
    return folder


def test_every_page_of_docs_is_in_the_site(site, root):
    docs = root / "docs"
    for page in docs.rglob("*.md"):
        place = page.relative_to(docs).with_suffix("")
        assert (site / (place.parent if place.name == "index" else place) / "index.html").exists(), page


def test_pages_load_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        for groups in LOADED.findall(page.read_text(encoding="utf-8")):
            assert not re.match(r"(https?:)?//", "".join(groups)), page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", sheet.read_text(encoding="utf-8")), sheet


def test_the_reference_has_every_verb_and_the_docstrings(site):
    text = (site / "reference" / "command_line" / "index.html").read_text(encoding="utf-8")
    for verb in ("ingest", "experiment", "latent strips", "evaluate fidelity", "reader-study serve"):
        assert f"lesionforge {verb}" in text
    patches = (site / "reference" / "data" / "index.html").read_text(encoding="utf-8")
    assert 'id="lesionforge.data.patches.Patches.centre_crop"' in patches


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_a_browser_asks_the_site_alone_and_no_page_is_wider_than_its_window(site):
    playwright = pytest.importorskip("playwright.sync_api")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=site)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        home, asked, failed = f"http://127.0.0.1:{server.server_port}/", set(), []
        with playwright.sync_playwright() as started:
            browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 800, "height": 900})
            page.on("request", lambda request: asked.add(request.url))
            page.on("response", lambda response: failed.append(response.url) if response.status >= 400 else None)
            for shown in SHOWN:
                page.goto(home + shown)
                assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), shown
            browser.close()
        server.shutdown()
    assert not failed
    assert not [url for url in asked if not url.startswith((home, "data:", "blob:"))]
