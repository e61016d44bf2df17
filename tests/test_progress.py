import io
import pickle
import re

import pytest
from rich.console import Console

from lesionforge import progress
from lesionforge.progress import SILENT, Advanced, Began, Ended, Said, SentProgress, TerminalProgress


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_nothing_is_shown_by_default(capfd):
    SILENT.say("hello")
    with SILENT.work("training", 10, unit="images") as advance:
        advance(5, loss=0.5)
    assert capfd.readouterr() == ("", "")


def test_off_a_terminal_there_is_a_line_now_and_then_with_rate_and_time_left(capsys, clock):
    with TerminalProgress().work("training dcgan", 10_000, unit="images") as advance:
        for _ in range(25):
            clock.now += 1
            advance(100, loss=0.12345)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "training dcgan: 1,000/10,000 images, 100 images/s, 1:30 left, loss 0.123",
        "training dcgan: 2,000/10,000 images, 100 images/s, 1:20 left, loss 0.123",
        "training dcgan: 2,500 images in 0:25",
    ]


def test_work_that_was_taken_up_again_has_the_rate_of_this_time(capsys, clock):
    with TerminalProgress().work("training", 10_000, unit="images", done=9_000) as advance:
        clock.now += 20
        advance(200)
    assert "9,200/10,000 images, 10 images/s, 1:20 left" in capsys.readouterr().err


def test_the_rate_is_that_of_late(capsys, clock):
    """A growing network's last images take ten times as long as its first."""
    with TerminalProgress().work("training", 10_000, unit="images") as advance:
        for images in [100] * 80 + [10] * 70:
            clock.now += 1
            advance(images)
    assert "8,700/10,000 images, 10 images/s, 2:10 left" in capsys.readouterr().err


def test_the_last_batch_may_reach_over_the_end(capsys, clock):
    with TerminalProgress().work("training", 100, unit="images") as advance:
        clock.now += 100
        advance(101)
    assert "101/100 images, 1 images/s, 0:00 left" in capsys.readouterr().err


def test_hours_are_told_as_hours(capsys, clock):
    with TerminalProgress().work("training", 1_000_000, unit="images") as advance:
        clock.now += 10
        advance(1_000)
    assert "2:46:30 left" in capsys.readouterr().err


def test_lines_are_said_as_they_are_on_standard_error(capsys):
    text = "fold [bold]1[/bold] of 3: " + "long " * 60
    TerminalProgress().say(text)
    assert capsys.readouterr() == ("", text + "\n")


def test_on_a_terminal_there_is_a_bar_and_then_one_line(clock):
    shown, terminal = io.StringIO(), TerminalProgress()
    terminal._console, terminal._live = Console(file=shown, force_terminal=True, width=120), True
    with terminal.work("training", 100, unit="images") as advance:
        clock.now += 10
        advance(50)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.getvalue())
    assert "training" in plain
    assert plain.rstrip().endswith("training: 50 images in 0:10")


def test_work_within_work_is_named_and_may_go_on_in_another_process(capsys, clock):
    inner = TerminalProgress().within("fold 1").within("solid")
    for sender in (inner, pickle.loads(pickle.dumps(inner))):
        with sender.work("training", 10, unit="images"):
            pass
    assert capsys.readouterr().err == "fold 1: solid: training: 0 images in 0:00\n" * 2
    assert SILENT.within("fold 1") is SILENT


def test_an_error_in_the_work_is_the_callers(capsys):
    with pytest.raises(KeyError), TerminalProgress().work("training", 10, unit="images"):
        raise KeyError


def test_what_is_told_elsewhere_is_sent_and_steps_no_more_often_than_asked(clock):
    sent = []
    progress = SentProgress(sent.append, every_s=1.0)
    progress.say("hello")
    with progress.work("training", 100, unit="images", done=40) as advance:
        for _ in range(5):
            clock.now += 0.4
            advance(10, loss=0.5)
    assert sent == [
        Said("hello"),
        Began("training", 100, "images", done=40),
        Advanced(30, {"loss": 0.5}),
        Advanced(20),
        Ended(),
    ]
    assert [pickle.loads(pickle.dumps(message)) for message in sent] == sent


def test_work_that_fails_is_not_said_to_have_ended():
    sent = []
    with pytest.raises(KeyError), SentProgress(sent.append).work("training", 10, unit="images"):
        raise KeyError
    assert sent == [Began("training", 10, "images")]
