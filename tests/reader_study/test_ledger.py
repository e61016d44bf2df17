"""The rules about answers: in order, once, of the right reader, kept as they were given."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study import ledger as ledgers
from lesionforge.reader_study import tables
from lesionforge.reader_study.given import Given, RefusedError


def signed_in(ledger, name="one"):
    _, person = ledger.redeem(ledger.invite(name))
    return person.reader


def refused(status, act, *arguments):
    with pytest.raises(RefusedError) as raised:
        act(*arguments)
    assert raised.value.status == status


def test_items_come_in_order_and_answers_are_kept(make_ledger, url):
    ledger = make_ledger(url=url, training_per_class=1, repeats=2, ask_comment=True)
    reader = signed_in(ledger)
    shown, now = [], ledger.now(reader)
    while now.state == "item":
        item = ledger.item(reader, now.slot)
        assert ledger.item(reader, now.slot) == item
        given = Given(rating=item % 4, comment=f"№ {item} — '; DROP TABLE answer; --")
        feedback, following = ledger.answer(reader, now.slot, given)
        assert (feedback is not None) == (now.kind == "training")
        shown.append(item)
        now = following
    assert now.state == "done"
    assert now.done == now.total == len(shown) == 2 * (2 * 4 + 2) + 2
    kept = ledger.answers()
    assert [row["item"] for row in kept] == shown
    assert [row["rating"] for row in kept] == [item % 4 for item in shown]
    assert kept[3]["comment"] == f"№ {shown[3]} — '; DROP TABLE answer; --"
    assert all(row["first_shown_at_ms"] <= row["answered_at_ms"] for row in kept)


def test_an_answer_sent_again_is_kept_once_and_another_is_refused(make_ledger, url):
    ledger = make_ledger(url=url)
    reader = signed_in(ledger)
    slot = ledger.now(reader).slot
    first = ledger.answer(reader, slot, Given(2))
    assert ledger.answer(reader, slot, Given(2, active_ms=99)) == first
    refused(409, ledger.answer, reader, slot, Given(1))
    assert len(ledger.answers()) == 1


def test_readers_have_their_own_items_alone_and_one_at_a_time(make_ledger):
    ledger = make_ledger()
    one, other = signed_in(ledger), signed_in(ledger, "other")
    mine, theirs = ledger.now(one).slot, ledger.now(other).slot
    with ledger.database.reading() as connection:
        slots = [row.id for row in connection.execute(tables.slot.select().order_by(tables.slot.c.place))]
    for slot in (theirs, "0" * 24, "", slots[5], "' OR 1=1 --"):
        refused(404, ledger.item, one, slot)
        refused(404, ledger.answer, one, slot, Given(0))
    ledger.answer(one, mine, Given(0))
    refused(404, ledger.item, one, mine)
    refused(404, ledger.answer, other, mine, Given(0))


@pytest.mark.parametrize(
    ("wrong", "asked"),
    [
        (Given(4), {}),
        (Given(-1), {}),
        (Given(2), {"scale": "two-way"}),
        (Given(1, label="benign"), {}),
        (Given(1), {"ask_class": True}),
        (Given(1, label="other"), {"ask_class": True}),
        (Given(1, comment="not asked"), {}),
        (Given(1, comment="x" * 2001), {"ask_comment": True}),
        (Given(1, comment="a\0b"), {"ask_comment": True}),
        (Given(1, region=(0, 1, 1, 5, 5)), {}),
        (Given(1, region=(0, 1, 1, 17, 5)), {"ask_region": True}),
        (Given(1, region=(0, 5, 1, 5, 5)), {"ask_region": True}),
        (Given(1, region=(1, 1, 1, 5, 5)), {"ask_region": True}),
        (Given(1, region=(0.5, 1, 1, 5, 5)), {"ask_region": True}),
        (Given(1, region=(0, 1, 1, 5)), {"ask_region": True}),
        (Given(1, region=(0, float("nan"), 1, 5, 5)), {"ask_region": True}),
    ],
)
def test_answers_that_do_not_fit_are_refused(make_ledger, wrong, asked):
    ledger = make_ledger(**asked)
    reader = signed_in(ledger)
    refused(422, ledger.answer, reader, ledger.now(reader).slot, wrong)
    assert ledger.answers() == []


def test_full_answers_are_kept(make_ledger):
    ledger = make_ledger(ask_class=True, ask_comment=True, ask_region=True)
    reader = signed_in(ledger)
    slot = ledger.now(reader).slot
    ledger.answer(reader, slot, Given(3, "malignant", "too round\n<b>", (0, 1.5, 2, 16, 16), 4321))
    (row,) = ledger.answers()
    assert (row["answered_class"], row["region"], row["active_ms"]) == ("malignant", "[0, 1.5, 2, 16, 16]", 4321)


def test_of_many_answers_at_once_one_is_kept(make_ledger, url):
    ledger = make_ledger(url=url)
    reader = signed_in(ledger)
    slot = ledger.now(reader).slot

    def answer(number):
        try:
            ledger.answer(reader, slot, Given(number % 4))
        except RefusedError as error:
            return error.status
        return number % 4

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(answer, range(24)))
    (kept,) = ledger.answers()
    assert said.count(409) == 18
    assert {each for each in said if each != 409} == {kept["rating"]}


def test_an_invitation_works_once_and_ends(make_ledger, monkeypatch, url):
    ledger = make_ledger(url=url)
    made = ledger.invite("one")
    cookie, person = ledger.redeem(made)
    assert ledger.person(cookie) == person
    assert ledger.person(cookie + "x") is None
    refused(403, ledger.redeem, made)
    refused(403, ledger.redeem, "0000-0000-0000-0000-0000")
    late = ledger.invite_to_another_device(person)
    real = ledgers._now_ms
    monkeypatch.setattr(ledgers, "_now_ms", lambda: real() + ledgers.DEVICE_MS + 1)
    refused(403, ledger.redeem, late)
    monkeypatch.setattr(ledgers, "_now_ms", lambda: real() + ledgers.SESSION_MS + 1)
    assert ledger.person(cookie) is None


def test_of_many_who_redeem_at_once_one_comes_in(make_ledger, url):
    ledger = make_ledger(url=url)
    made = ledger.invite("one")

    def redeem(_number):
        try:
            return ledger.redeem(made)[0]
        except RefusedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        assert sum(cookie is not None for cookie in pool.map(redeem, range(16))) == 1


def test_inviting_again_ends_what_was_before_and_keeps_the_answers(make_ledger):
    ledger = make_ledger()
    unused = ledger.invite("one")
    cookie, person = ledger.redeem(ledger.invite("one"))
    refused(403, ledger.redeem, unused)
    ledger.answer(person.reader, ledger.now(person.reader).slot, Given(1))
    again, same = ledger.redeem(ledger.invite(" one "))
    assert same == person
    assert ledger.person(cookie) is None
    assert ledger.now(same.reader).done == 1
    assert ledger.person(again) == person
    assert len(ledger.progress()) == 1


def test_another_device_goes_on_where_the_first_one_was(make_ledger):
    ledger = make_ledger()
    cookie, person = ledger.redeem(ledger.invite("one"))
    ledger.answer(person.reader, ledger.now(person.reader).slot, Given(1))
    second, same = ledger.redeem(ledger.invite_to_another_device(person))
    assert ledger.person(cookie) == ledger.person(second) == same == person
    ledger.leave(cookie)
    assert ledger.person(cookie) is None
    assert ledger.person(second) == person


def test_a_closed_study_takes_nothing_more(make_ledger, url):
    ledger = make_ledger(url=url)
    reader = signed_in(ledger)
    slot = ledger.now(reader).slot
    ledger.answer(reader, slot, Given(1))
    following = ledger.now(reader).slot
    assert ledger.close()
    assert not ledger.close()
    assert ledger.now(reader).state == "closed"
    refused(404, ledger.item, reader, following)
    refused(409, ledger.answer, reader, following, Given(1))
    with pytest.raises(LesionForgeError, match="closed"):
        ledger.invite("late")
    assert ledger.answer(reader, slot, Given(1))[1].state == "closed"  # a reply that was lost comes again
    assert len(ledger.answers()) == 1


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "a\nb", "a\x1b[2J"])
def test_names_that_would_spoil_a_table_are_refused(make_ledger, name):
    with pytest.raises(LesionForgeError, match="printable name"):
        make_ledger().invite(name)


def test_teaching_tells_after_each_item_and_keeps_the_score(make_ledger):
    ledger = make_ledger(teaching=True, ask_class=True)
    reader = signed_in(ledger)
    wanted = []
    for _ in range(6):
        now = ledger.now(reader)
        assert list(now.score) == wanted
        item = ledger.study.items[ledger.item(reader, now.slot)]
        feedback, _ = ledger.answer(reader, now.slot, Given(3, "benign"))
        assert feedback == {"real": item.real, "right": item.real, "label": item.label}
        wanted.append(item.real)


def test_a_repeat_is_not_told_from_a_first_showing(make_ledger):
    ledger = make_ledger(repeats=4)
    reader = signed_in(ledger)
    kinds = set()
    now = ledger.now(reader)
    while now.state == "item":
        kinds.add(now.kind)
        _, now = ledger.answer(reader, now.slot, Given(0))
    assert kinds == {"reading"}
    assert {row["kind"] for row in ledger.answers()} == {"reading", "repeat"}


def test_progress_counts_and_does_not_judge(make_ledger, read):
    ledger = make_ledger()
    read(ledger, "one", lambda _item: Given(1, active_ms=1500))
    signed_in(ledger, "two")
    first, second = ledger.progress()
    assert (first["name"], first["done"], first["total"], first["mean_ms"]) == ("one", 16, 16, 1500.0)
    assert (second["done"], second["last_at"], second["mean_ms"]) == (0, None, None)
