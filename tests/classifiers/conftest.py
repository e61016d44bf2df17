import pytest


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_thread):
    """Everywhere here: threads of tests that run side by side wait for each other, and a second becomes twenty."""
