"""Invitations survive being read out and typed; what is kept opens nothing."""

import re

from hypothesis import given
from hypothesis import strategies as st

from lesionforge.reader_study import tokens


def test_an_invitation_is_known_however_it_is_typed():
    made = tokens.new_invitation()
    assert re.fullmatch(r"([0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}", made)
    kept = tokens.invitation_digest(made)
    slurred = made.lower().replace("-", " ").replace("1", "l").replace("0", "o")
    for typed in (made.lower(), made.replace("-", ""), f" {made}\n", slurred):
        assert tokens.invitation_digest(typed) == kept
    assert made.replace("-", "") not in kept.upper()


def test_secrets_are_many_and_their_digests_have_a_purpose_each():
    assert len({tokens.new_invitation() for _ in range(500)}) == 500
    cookie = tokens.new_session()
    digests = {tokens.session_digest(cookie), tokens.csrf_token(cookie), tokens.invitation_digest(cookie)}
    assert len(digests) == 3
    assert all(len(digest) == 48 for digest in digests)


@given(st.text())
def test_any_text_may_be_typed(text):
    assert len(tokens.invitation_digest(text)) == 48
    assert len(tokens.session_digest(text)) == 48
