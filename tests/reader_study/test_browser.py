"""The whole study in a real browser, by keyboard alone, by touch and by mouse; and what a page may not do."""

import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.evaluation.tables import read_table

api = pytest.importorskip("playwright.sync_api", reason="the browser is driven by playwright")
uvicorn = pytest.importorskip("uvicorn", reason="the reader study needs the extra 'web'")

from lesionforge.reader_study.database import Database  # noqa: E402
from lesionforge.reader_study.ledger import Ledger  # noqa: E402
from lesionforge.reader_study.outcome import write_outcome  # noqa: E402
from lesionforge.reader_study.web.app import make_app  # noqa: E402
from lesionforge.reader_study.web.site import Site  # noqa: E402

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DESKTOP, TABLET = {"width": 1280, "height": 800}, {"width": 820, "height": 1180}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no Chromium here: chromium is not on the path")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def new_page(browser) -> Iterator[Callable[..., Any]]:
    """Makes a page of its own session; requests that leave its origin and complaints fail the test, but for those
    that hold the words ``allowing``.
    """
    contexts, complaints = [], []

    def make(*, allowing: str = "nothing", **options: object) -> Any:
        contexts.append(browser.new_context(**({"viewport": DESKTOP} | options)))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: None if allowing in said.text else complaints.append(said.text))
        page.on("request", lambda asked: None if "//127.0.0.1:" in asked.url else complaints.append(asked.url))
        return page

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def serve(free_port) -> Iterator[Callable[[Ledger], str]]:
    """Serves a study on this machine; gives its address."""
    servers = []

    def start(ledger: Ledger) -> str:
        url = f"http://127.0.0.1:{free_port}"
        app = make_app(ledger, site=Site(url))
        server = uvicorn.Server(uvicorn.Config(app, port=free_port, log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            time.sleep(0.01)
        return url

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(20)


def sign_in(page, url, invitation):
    page.goto(f"{url}/join#{invitation}")
    assert invitation not in page.url  # it is not to be found in the history
    page.keyboard.press("Enter")


def wait_for_item(page, number=1):
    api.expect(page.locator("#status")).to_have_text(re.compile(f"Lesion {number} of"))


def begin(page, url, invitation):
    sign_in(page, url, invitation)
    page.wait_for_selector("#intro:not([hidden])")
    with page.expect_response("**/api/items/*") as item:
        page.keyboard.press("Enter")
    wait_for_item(page)
    return item.value


def read_by_keys(page, chance):
    """Answer everything with digits and Enter; the ratings given."""
    given = []
    while True:
        given.append(int(chance.integers(4)))
        page.keyboard.press(str(given[-1] + 1))
        with page.expect_response("**/api/answers") as kept:
            page.keyboard.press("Enter")
        said = kept.value.json()
        now = said["now"]
        if said["feedback"]:
            page.wait_for_selector("#feedback:not([hidden])")
            page.keyboard.press("Enter")
        if now["state"] == "done":
            page.wait_for_selector("#ended:not([hidden])")
            return given
        if now["begins"] and now["batch"]:
            page.wait_for_selector("#rest:not([hidden])")
            page.keyboard.press("Enter")
        wait_for_item(page, now["done"] + 1)


def test_three_readers_read_by_keyboard_alone_and_the_results_say_what_they_did(make_ledger, new_page, serve, tmp_path):
    ledger = make_ledger(per_class=3, classes=("benign",), training_per_class=1, batches=2, repeats=1)
    url = serve(ledger)
    wanted = {}
    for number in range(3):
        name = f"reader {number}"
        page = new_page(viewport=(DESKTOP, TABLET)[number % 2])
        begin(page, url, ledger.invite(name))
        wanted[name] = read_by_keys(page, np.random.default_rng(number))
        assert "That was the last one" in page.inner_text("#ended")
    rows = ledger.answers()
    for name, pressed in wanted.items():
        assert [row["rating"] for row in rows if row["reader"] == name] == pressed
        assert len(pressed) == 2 + 6 + 1
    assert all(0 < row["active_ms"] < 60_000 for row in rows)
    write_outcome(ledger, tmp_path / "run")
    assert set(read_table(tmp_path / "run" / "tables" / "turing.csv")["reader"]) == {*wanted, "average"}


@pytest.fixture
def blocks(sets):
    """Stacks of even blocks, whose grey values can be read off the screen."""
    rng = np.random.default_rng(5)
    made = []
    for each in sets:
        small = rng.integers(-990, 390, (len(each), 5, 4, 4))
        images = small.repeat(8, axis=2).repeat(8, axis=3).astype(each.images.dtype)
        made.append(Patches(images, each.table.assign(spacing_z_mm=np.nan), generators=each.generators))
    return made


def test_the_viewer_shows_true_values_and_obeys_keys_mouse_and_wheel(make_study, blocks, new_page, serve, tmp_path):
    study = make_study(of=blocks, ask_region=True, ask_comment=True, ask_class=True)
    ledger = Ledger(study, Database.open(tmp_path / "study"))
    page = new_page(allowing="willReadFrequently")  # reading the screen back is this test's
    item = begin(page, serve(ledger), ledger.invite("one"))
    shown = np.frombuffer(item.body(), "<i2").reshape(5, 32, 32)

    def greys(window, slice_):
        expected = WINDOWS[window].to_unit_interval(shown[slice_, 4::8, 4::8]) * 255
        return np.abs(seen(page) - expected).max()

    assert greys("lung", 2) <= 1.0
    page.keyboard.press("m")
    assert greys("mediastinum", 2) <= 1.0
    page.keyboard.press("l")
    page.keyboard.press("PageDown")
    assert greys("lung", 3) <= 1.0
    page.mouse.move(400, 400)
    page.mouse.wheel(0, -100)
    api.expect(page.locator("#slices output")).to_have_text("3 of 5")
    assert greys("lung", 2) <= 1.0
    page.mouse.down()
    page.mouse.move(500, 330, steps=4)
    page.mouse.up()
    level, width = map(int, re.match(r"L (-?\d+) · W (\d+)", page.inner_text("#reading")).groups())
    assert width > 1500
    assert level < -400
    before = page.inner_text("#reading")
    page.keyboard.press("+")
    assert page.inner_text("#reading") == before.replace("100 %", "125 %")
    page.keyboard.press("r")
    assert page.inner_text("#reading") == before
    for key in ("x", "ArrowUp", "ArrowRight", "Shift+ArrowDown"):
        page.keyboard.press(key)
    page.keyboard.press("c")
    page.keyboard.type("1 x m p: <b>keys</b> are words here")
    page.keyboard.press("Escape")
    page.keyboard.press("3")
    page.keyboard.press("Enter")
    assert "class first" in page.inner_text("#problem")
    page.keyboard.press("s")
    with page.expect_response("**/api/answers"):
        page.keyboard.press("Enter")
    (row,) = ledger.answers()
    assert (row["rating"], row["answered_class"]) == (2, "malignant")
    assert row["comment"] == "1 x m p: <b>keys</b> are words here"
    assert row["region"].startswith("[2.0, ")
    ledger.database.close()


def seen(page):
    """Grey values at the middles of the 4 × 4 blocks."""
    return np.array(
        page.evaluate(
            """() => {
              const canvas = document.getElementById('canvas');
              const side = Math.min(canvas.width, canvas.height);
              const [left, top] = [(canvas.width - side) / 2, (canvas.height - side) / 2];
              const context = canvas.getContext('2d');
              const at = (x, y) => context.getImageData(left + side * (x + .5) / 4, top + side * (y + .5) / 4, 1, 1);
              return [0, 1, 2, 3].map((y) => [0, 1, 2, 3].map((x) => at(x, y).data[0]));
            }"""
        )
    )


def test_touch_answers_pinches_and_goes_on_elsewhere(make_ledger, new_page, serve):
    ledger = make_ledger()
    url = serve(ledger)
    tablet = new_page(viewport=TABLET, has_touch=True, allowing="status of 409")
    begin(tablet, url, ledger.invite("one"))
    pinch(tablet)
    api.expect(tablet.locator("#reading")).not_to_contain_text(" 100 %")
    tablet.tap(".choice >> nth=1")
    with tablet.expect_response("**/api/answers"):
        tablet.tap("#answer button.main")
    tablet.tap("#device")
    tablet.wait_for_selector("#elsewhere[open]")
    code = tablet.inner_text("[data-invitation]")
    desk = new_page()
    sign_in(desk, url, code)
    wait_for_item(desk, 2)
    assert desk.inner_text("#progress") == "Part 1 · 2 of 16"
    desk.keyboard.press("p")
    assert desk.locator("#paused").is_visible()
    assert desk.locator("#canvas").is_hidden()
    desk.keyboard.press("Enter")
    desk.keyboard.press("4")
    with desk.expect_response("**/api/answers"):
        desk.keyboard.press("Enter")
    assert [row["rating"] for row in ledger.answers()] == [1, 3]
    tablet.keyboard.press("Escape")
    tablet.tap(".choice >> nth=0")
    with tablet.expect_response("**/api/now"):  # the other device went on: this one catches up
        tablet.tap("#answer button.main")
    assert len(ledger.answers()) == 2


def pinch(page):
    page.evaluate(
        """() => {
          const canvas = document.getElementById('canvas');
          canvas.setPointerCapture = () => {};
          const say = (type, id, x) => canvas.dispatchEvent(
            new PointerEvent(type, { pointerId: id, clientX: x, clientY: 300, bubbles: true, pointerType: 'touch' }));
          say('pointerdown', 11, 300); say('pointerdown', 12, 400);
          say('pointermove', 12, 500); say('pointermove', 12, 600);
          say('pointerup', 11, 300); say('pointerup', 12, 600);
        }"""
    )


def test_no_page_has_a_serious_fault_of_access(make_ledger, browser, serve):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="pages are checked by axe").Axe()
    ledger = make_ledger(ask_class=True, ask_comment=True, ask_region=True, training_per_class=1, batches=2)
    url = serve(ledger)
    # axe is put into the page, which its policy forbids; nothing else is different.
    context = browser.new_context(viewport=DESKTOP, bypass_csp=True)
    page, owner = context.new_page(), browser.new_context(viewport=TABLET, bypass_csp=True).new_page()
    invitation = ledger.invite("one")
    page.goto(f"{url}/join#{invitation}")
    found = {"join": axe.run(page)}
    page.keyboard.press("Enter")
    page.wait_for_selector("#intro:not([hidden])")
    found["intro"] = axe.run(page)
    page.keyboard.press("Enter")
    wait_for_item(page)
    found["item"] = axe.run(page)
    page.click("#help")
    found["keys"] = axe.run(page)
    page.keyboard.press("Escape")
    for key in ("1", "a", "Enter"):
        page.keyboard.press(key)
    page.wait_for_selector("#feedback:not([hidden])")
    found["feedback"] = axe.run(page)
    owner.goto(f"{url}/join#{ledger.invite_owner()}")
    owner.keyboard.press("Enter")
    owner.wait_for_selector("#readers tr")
    found["owner"] = axe.run(owner)
    owner.context.close()
    context.close()
    faults = {
        name: [(fault["id"], fault["impact"], [node["html"][:80] for node in fault["nodes"]]) for fault in violations]
        for name, result in found.items()
        if (violations := result.response["violations"])
    }
    assert faults == {}


def test_teaching_shows_the_score_over_time(make_ledger, new_page, serve):
    ledger = make_ledger(teaching=True)
    page = new_page()
    begin(page, serve(ledger), ledger.invite("resident"))
    for number in range(3):
        page.keyboard.press("4")
        page.keyboard.press("Enter")
        page.wait_for_selector("#feedback:not([hidden])")
        right = sum(ledger.study.items[row["item"]].real for row in ledger.answers())
        assert f"{right} of {number + 1} right" in page.inner_text("#feedback .score")
        assert page.inner_text("[data-verdict]") in {"✓ Right", "✗ Wrong"}
        page.keyboard.press("Enter")
        wait_for_item(page, number + 2)


def test_a_server_that_goes_away_costs_no_answer(make_ledger, new_page, serve):
    ledger = make_ledger()
    page = new_page(allowing="status of 503")
    begin(page, serve(ledger), ledger.invite("one"))
    slot = ledger.now(0).slot
    page.route("**/api/answers", lambda route: route.fulfill(status=503, json={"error": "busy."}), times=2)
    page.keyboard.press("2")
    page.keyboard.press("Enter")
    api.expect(page.locator("#problem")).to_contain_text("Not saved yet")
    assert ledger.now(0).slot == slot
    wait_for_item(page, 2)
    assert [row["rating"] for row in ledger.answers()] == [1]
