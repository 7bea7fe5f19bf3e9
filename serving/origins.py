"""Pages of other origins: which of them may read the answers (CORS, fetch.spec.whatwg.org)."""

import re

from utils.errors import ConfigError

ALLOWED_HEADERS = "Content-Type"
EXPOSED_HEADERS = "Retry-After"
PREFLIGHT_AGE_S = 600
"""How long a browser may keep what a preflight answered."""

_ORIGIN = re.compile(r"([a-z][a-z0-9+.-]*)://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_MAX_PORT = 65_535


def read_origins(text: str, name: str = "allowed_origins") -> frozenset[str]:
    """Read origins, separated by commas or spaces, into the form in which browsers send them.

    Args:
        text: as given.
        name: of the setting, for the error.

    Raises:
        ConfigError: one of them is none, or "*" or "null", which would let any page in.

    >>> sorted(read_origins("https://Faces.example:443, http://localhost:3000"))
    ['http://localhost:3000', 'https://faces.example']
    """
    return frozenset(_origin(part, name) for part in text.replace(",", " ").split())


def _origin(text: str, name: str) -> str:
    parts = _ORIGIN.fullmatch(text.lower())
    if parts is None or int(parts[3] or 0) > _MAX_PORT:
        raise ConfigError(
            f"{name} holds {_shown(text)}, expected scheme://host or scheme://host:port, "
            "such as https://faces.example, without path or slash at the end, separated by commas; "
            "each one is named, there is no * for all"
        )
    scheme, host, port = parts.groups()
    is_default = port is None or int(port) == _DEFAULT_PORTS.get(scheme)
    return f"{scheme}://{host}" if is_default else f"{scheme}://{host}:{int(port)}"


def _shown(text: str) -> str:
    return "a user and a password" if "@" in text else repr(text[:100])


class CrossOrigin:
    """The headers by which a browser lets pages of the allowed origins read an answer.

    No cookie or login goes with such requests: Access-Control-Allow-Credentials is never sent.

    >>> CrossOrigin("").headers("http://a")
    {}
    >>> CrossOrigin("http://a").headers("http://b")
    {'Vary': 'Origin'}
    """

    def __init__(self, allowed_origins: str) -> None:
        self._allowed = read_origins(allowed_origins)

    def headers(self, origin: str | None) -> dict[str, str]:
        """Return what every answer carries, those of errors too."""
        if not self._allowed:
            return {}
        if origin not in self._allowed:
            return {"Vary": "Origin"}
        return {
            "Vary": "Origin",
            "Access-Control-Allow-Origin": str(origin),
            "Access-Control-Expose-Headers": EXPOSED_HEADERS,
        }

    def preflight(self, origin: str | None, methods: str) -> dict[str, str]:
        """Return what the answer to OPTIONS carries, by which a browser asks before it sends."""
        if origin not in self._allowed:
            return {}
        return {
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ALLOWED_HEADERS,
            "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
        }
