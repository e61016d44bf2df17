"""Single-use invitations and session cookies: random, and kept as digests only.

An *invitation* is 20 letters of Crockford's base 32 (100 bits), in fours with dashes, so that it can be read out or
typed; I and L are taken for 1 and O for 0. Whoever redeems it gets a *session*, a cookie. Neither can be computed from
what the database keeps, so a stolen copy of it lets nobody in.
"""

import hashlib
import secrets

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LETTERS, GROUP = 20, 4
_TYPED = str.maketrans("OIL", "011")


def new_invitation() -> str:
    """Make an invitation as it is handed out."""
    letters = [secrets.choice(ALPHABET) for _ in range(LETTERS)]
    return "-".join("".join(letters[start : start + GROUP]) for start in range(0, LETTERS, GROUP))


def new_session() -> str:
    """Make a session's cookie."""
    return secrets.token_urlsafe(32)


def new_slot() -> str:
    """Make a name for an item's place in a reader's list, which says nothing about either."""
    return secrets.token_hex(12)


def invitation_digest(typed: str) -> str:
    """What is kept of an invitation, however it was typed."""
    plain = "".join(letter for letter in typed.upper().translate(_TYPED) if letter in ALPHABET)
    return _digest("invitation", plain)


def session_digest(cookie: str) -> str:
    """What is kept of a session."""
    return _digest("session", cookie)


def csrf_token(cookie: str) -> str:
    """What a page of this session must send along with a change: other sites cannot read it."""
    return _digest("csrf", cookie)


def _digest(purpose: str, secret: str) -> str:
    return hashlib.blake2b(secret.encode(errors="replace"), digest_size=24, person=purpose.encode()).hexdigest()
