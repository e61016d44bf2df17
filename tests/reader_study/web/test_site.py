"""Where a study may be reached."""

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.web.site import Site


@pytest.mark.parametrize(
    "url", ["readers.example.org", "ftp://x", "https://", "https://x/path", "https://x?y", "http://readers.example.org"]
)
def test_addresses_that_would_not_do_are_refused(url):
    with pytest.raises(LesionForgeError, match=r"URL must look like|by https"):
        Site(url)


def test_a_link_keeps_its_secret_after_the_hash():
    site = Site("https://Readers.example.org/")
    assert site.invitation_link("AB-CD") == "https://readers.example.org/join#AB-CD"
    assert site.secure
    assert not Site().secure
