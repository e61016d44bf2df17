"""Requests drawn from the application's own description, right and wrong: none is answered with a server's error."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesionforge.reader_study.given import Given

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
ODD_TEXT = st.sampled_from(
    ["", "0", "'; DROP TABLE answer; --", "%00", "../../etc/passwd", "{{7*7}}", "\ud7ff", "a" * 3000]
)


def values(schema, definitions):
    """Values that fit a JSON schema, mixed with some that do not."""
    if "$ref" in schema:
        return values(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if schema.get("type") == "object":
        required = {name: values(of, definitions) for name, of in schema.get("properties", {}).items()}
        return st.fixed_dictionaries({}, optional=required) | st.fixed_dictionaries(required) | JSON
    kinds = {"string": st.text(max_size=70) | ODD_TEXT, "integer": st.integers(), "number": st.floats()}
    if schema.get("type") == "array":
        return st.lists(values(schema["items"], definitions), max_size=7) | JSON
    return kinds.get(schema.get("type", ""), JSON) | JSON


def operations(description):
    definitions = description["components"]["schemas"]
    for path, methods in description["paths"].items():
        for method, facts in methods.items():
            content = facts.get("requestBody", {}).get("content", {})
            schema = content.get("application/json", {}).get("schema")
            yield method.upper(), path, None if schema is None else values(schema, definitions)


@pytest.fixture
def target(make_ledger, open_client):
    ledger = make_ledger(ask_class=True, ask_comment=True, ask_region=True)
    client = open_client(ledger, ledger.invite("one"))
    _, person = ledger.redeem(ledger.invite_to_another_device(ledger.person(client.cookies["lesionforge"])))
    slot = ledger.now(person.reader).slot
    ledger.answer(person.reader, slot, Given(1, "benign"))
    return ledger, client


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)
@given(data=st.data())
def test_no_request_is_too_odd(target, data):
    ledger, client = target
    known = [each for each in operations(client.get("/openapi.json").json()) if each[1] != "/api/leave"]
    method, path, body = data.draw(st.sampled_from(known))
    slot = ledger.now(0).slot
    place = data.draw(st.sampled_from([slot, slot.upper(), "0" * 24]) | st.text("abc019/%.\\'\"é", max_size=30))
    url = path.replace("{slot}", place.replace("%", "%25").replace("/", "%2F"))
    kept = ledger.answers()
    if body is None:
        said = client.request(method, url)
    else:
        sent = data.draw(body)
        raw = data.draw(st.none() | st.binary(max_size=60))
        keywords = {"json": _finite(sent)} if raw is None else {"content": raw}
        said = client.request(method, url, headers={"Content-Type": "application/json"}, **keywords)
    assert said.status_code < 500
    assert ledger.answers()[: len(kept)] == kept
    if said.status_code >= 400:
        assert set(said.json()) == {"error"}


def _finite(value):
    """As JSON can be sent at all: NaN, infinity and lone surrogates cannot."""
    if isinstance(value, float):
        return value if abs(value) < 1e300 else 0.0
    if isinstance(value, list):
        return [_finite(each) for each in value]
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return value
