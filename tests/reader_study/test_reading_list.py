"""Orders: every item once, batches one after the other, repeats in the second half, different for each reader."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.reading_list import check_repeats, reading_list
from lesionforge.reader_study.study import Item, Study


def study(*, per_kind=8, training=0, **design):
    """Items of two kinds, dealt to batches in turn."""
    asked = Design(per_class=per_kind, **design)
    items = [
        Item(origin, "a", "p", (None,), batch=number % asked.batches)
        for origin in ("real", "g")
        for number in range(per_kind)
    ]
    items += [Item("real", "a", "p", (None,), batch=-1)] * training
    return Study(asked, "HU", ("a",), tuple(items), None, {})


@settings(deadline=None, max_examples=60)
@given(
    batches=st.integers(1, 4),
    each=st.integers(0, 4),
    repeats=st.integers(0, 4),
    training=st.integers(0, 3),
    reader=st.integers(0, 9),
)
def test_a_list_holds_its_batches_and_repeats(batches, each, repeats, training, reader):
    made = study(training=training, batches=batches, batches_each=min(each, batches), repeats=min(repeats, 2))
    showings = reading_list(made, reader)
    kinds = [showing.kind for showing in showings]
    assert kinds[:training] == ["training"] * training
    reading = [showing.item for showing in showings if showing.kind == "reading"]
    mine = {made.items[item].batch for item in reading}
    assert len(mine) == made.design.batches_read
    assert Counter(reading) == Counter(at for at, item in enumerate(made.items) if item.batch in mine)
    batch = [showing.batch for showing in showings]
    changes = sum(one != other for one, other in pairwise(batch))
    assert changes == len(mine) - 1 + bool(training)
    first = {showing.item: place for place, showing in enumerate(showings) if showing.kind == "reading"}
    again = {showing.item: place for place, showing in enumerate(showings) if showing.kind == "repeat"}
    assert len(again) == made.design.repeats == kinds.count("repeat")
    half = training + len(reading) // 2
    assert all(first[item] < half < place for item, place in again.items())


def test_readers_have_orders_of_their_own_that_come_again():
    made = study(repeats=3)
    assert reading_list(made, 0) == reading_list(made, 0) != reading_list(made, 1)


def test_batches_are_dealt_evenly_among_readers():
    made = study(batches=4, batches_each=1)
    batches = [{made.items[showing.item].batch for showing in reading_list(made, reader)} for reader in range(8)]
    assert Counter(batch for own in batches for batch in own) == dict.fromkeys(range(4), 2)


def test_more_repeats_than_the_first_half_holds_are_refused():
    made = study(batches=2, batches_each=1, repeats=0)
    check_repeats(made.items, Design(per_class=8, batches=2, batches_each=1, repeats=4))
    with pytest.raises(LesionForgeError, match="at most 4"):
        check_repeats(made.items, Design(per_class=8, batches=2, batches_each=1, repeats=5))
