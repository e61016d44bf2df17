"""Where the study is reached, and what a client may cost."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Rate

DEFAULT_URL = "http://127.0.0.1:8090"
AT_HOME = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True)
class Site:
    """``public_url`` is what readers type: scheme, host and port as the proxy in front shows them."""

    public_url: str = DEFAULT_URL
    requests_per_s: Rate = 20.0  # of a session; ten times that of an address, behind which a hospital may be
    joins_per_minute: Rate = 30.0  # of an address
    body_bytes: Count = 16 * 1024
    body_s: Rate = 10.0
    at_once: Count = 256  # connections

    def __post_init__(self) -> None:
        parts = urlsplit(self.public_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
            raise LesionForgeError(
                f"the public URL must look like https://readers.example.org, but {self.public_url!r} came."
            )
        if parts.scheme == "http" and parts.hostname not in {"127.0.0.1", "localhost", "::1"}:
            raise LesionForgeError(
                "beyond this machine the study must be reached by https, with a proxy that does TLS in front, but "
                f"{self.public_url!r} came: see docs/reader_study.md."
            )

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.public_url)
        return f"{parts.scheme}://{parts.netloc}".lower()

    @property
    def secure(self) -> bool:
        """Whether readers come by https."""
        return self.origin.startswith("https")

    @property
    def cookie(self) -> str:
        """Name of the session's cookie; the prefix makes browsers refuse one that another host has set."""
        return "__Host-lesionforge" if self.secure else "lesionforge"

    @property
    def hosts(self) -> tuple[str, ...]:
        """Values of the header Host that are answered."""
        host = urlsplit(self.public_url).netloc.rpartition("@")[2].lower()
        return (host, *AT_HOME)

    def invitation_link(self, invitation: str) -> str:
        """Link for a letter; what follows # stays in the browser, so no log and no link scanner uses it up."""
        return f"{self.origin}/join#{invitation}"
