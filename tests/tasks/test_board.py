"""What a user sees of a run, and what is left of it in logs; time passes as told."""

import io
import json
import re

import pytest
from recorded_tasks import fail
from rich.console import Console

from lesionforge import progress
from lesionforge.progress import SILENT, Advanced, Began, Ended, Said, TerminalProgress
from lesionforge.tasks import forecast as forecasting
from lesionforge.tasks import journal
from lesionforge.tasks.board import LiveBoard, PlainBoard, board_on
from lesionforge.tasks.forecast import Forecast
from lesionforge.tasks.graph import Cost, Graph, Task
from lesionforge.tasks.journal import RunLog, TaskLogs
from lesionforge.tasks.perform import Failure


class Clock:
    def __init__(self):
        self.now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    for module in (progress, forecasting, journal):
        monkeypatch.setattr(module, "time", made)
    return made


def task(name, *needs, kind="", images=0):
    return Task(name, "generators", f"key-of-{name}", fail, needs, cost=Cost(kind, images))


TRAIN, AGAIN, FIT, BROKEN, AFTER, CACHED = TASKS = (
    task("train", kind="training", images=100),
    task("again", kind="training", images=300),
    task("fit", kind="fitting", images=50),
    task("broken"),
    task("after", "broken"),
    task("cached"),
)


@pytest.fixture
def play(clock, tmp_path):
    """Plays a run to listeners, and yields before each time that they may be looked at."""

    def run(*listeners):
        def tell(what, *facts):
            for listener in listeners:
                getattr(listener, what)(*facts)

        tell("planned", Graph(TASKS), {CACHED.key})
        for each in (TRAIN, BROKEN):
            tell("started", each)
        tell("told", TRAIN, Began("training dcgan", 100, "images"))
        clock.now += 20
        tell("told", TRAIN, Advanced(50, {"loss": 0.5}))
        tell("told", TRAIN, Said("warning: copies"))
        yield "half"
        clock.now += 20
        tell("told", TRAIN, Advanced(50))
        tell("told", TRAIN, Ended())
        tell("done", TRAIN, tmp_path)
        tell("failed", BROKEN, Failure("this cannot be done", "line 1"))
        tell("skipped", AFTER, BROKEN)
        yield "end"

    return run


def test_the_time_left_is_foretold_from_tasks_of_the_same_kind(play):
    forecast = Forecast(at_once=2)
    run = play(forecast)
    next(run)
    assert (
        forecast.text == "1 cached, 3 waiting, more than 1:10 left"
    )  # 20 s of one, 120 s of the other; of two at once
    next(run)
    assert forecast.text == "1 done, 1 cached, 1 failed, 1 skipped, 2 waiting, more than 1:00 left"
    forecast.started(FIT)
    forecast.told(FIT, Began("fitting", 50, "images", done=40))
    assert "more than" in forecast.text


def test_before_anything_is_known_there_is_no_time_left():
    forecast = Forecast()
    forecast.planned(Graph(TASKS), set())
    assert forecast.text == "6 waiting, ? left"
    forecast.planned(Graph([CACHED]), {CACHED.key})
    assert forecast.text == "1 cached, 0 waiting, 0:00 left"


def test_work_that_was_taken_up_again_does_not_foretell_by_its_short_time(clock, tmp_path):
    forecast = Forecast()
    forecast.planned(Graph(TASKS), set())
    forecast.started(TRAIN)
    forecast.told(TRAIN, Began("training", 100, "images", done=90))
    clock.now += 10
    forecast.told(TRAIN, Advanced(10))
    forecast.done(TRAIN, tmp_path)
    assert "more than 5:00 left" in forecast.text  # a second an image, as the last ten took


def test_off_a_terminal_there_are_lines_with_the_names_of_tasks(play, capsys):
    forecast = Forecast()
    with board_on(TerminalProgress(), forecast) as board:
        assert isinstance(board, PlainBoard)
        list(play(forecast, board))
    assert capsys.readouterr().err.splitlines() == [
        "6 tasks, 1 of them done before",
        "train: training dcgan: 50/100 images, 2.5 images/s, 0:20 left, loss 0.5",
        "train: warning: copies",
        "train: training dcgan: 100/100 images, 2.5 images/s, 0:00 left",
        "train: training dcgan: 100 images in 0:40",
        "train: done; 1 done, 1 cached, 3 waiting, more than 2:00 left",
        "broken: failed: this cannot be done",
        "after: left out, for broken failed",
    ]


def test_on_a_terminal_there_is_a_table_of_what_runs(play):
    shown, forecast = io.StringIO(), Forecast()
    board = LiveBoard(Console(file=shown, force_terminal=True, width=140), forecast)
    run = play(forecast, board)

    def drawn():
        shown.seek(0)
        shown.truncate()
        board.console.print(board)
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())

    next(run)
    assert re.search(r"train +training dcgan +50/100 images, 2.5 images/s, 0:20 left", drawn())
    assert re.search(r"broken +generators +0:20", drawn())
    assert "1 cached, 3 waiting" in drawn()
    next(run)
    assert "broken: failed: this cannot be done" in shown.getvalue()
    assert drawn().strip() == forecast.text


def test_the_live_board_is_for_terminals(monkeypatch):
    terminal = TerminalProgress()
    terminal._console, terminal._live = Console(file=io.StringIO(), force_terminal=True), True
    with board_on(terminal, Forecast()) as board:
        assert isinstance(board, LiveBoard)
    with board_on(SILENT, Forecast()) as board:
        assert isinstance(board, PlainBoard)


def test_each_task_has_a_log_of_what_it_told(play, tmp_path):
    list(play(TaskLogs(tmp_path / "logs")))
    lines = (tmp_path / "logs" / "train.log").read_text().splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "begins: generators, threads 1, key key-of-train",
        "training dcgan: 100 images",
        "training dcgan: 50/100 images, 2.5 images/s, 0:20 left, loss 0.5",
        "warning: copies",
        "training dcgan: 100/100 images, 2.5 images/s, 0:00 left",
        "training dcgan: 100/100 images, 2.5 images/s, 0:00 left",
        "done",
    ]
    broken = (tmp_path / "logs" / "broken.log").read_text()
    assert "failed: this cannot be done\nline 1" in broken
    assert not (tmp_path / "logs" / "after.log").exists()


def test_the_runs_log_has_a_line_for_each_event(play, tmp_path):
    log = RunLog(tmp_path)
    log.write("opened")
    opened = log.opened()
    list(play(log))
    rows = [event_of(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert rows == ["opened", "planned", "done train", "failed broken", "skipped after"]
    assert log.opened() == opened


def event_of(line):
    row = json.loads(line)
    return " ".join(filter(None, (row["event"], row.get("task"))))
