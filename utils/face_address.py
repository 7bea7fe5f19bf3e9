"""Addresses of face servers: ports of this machine, and URLs."""

import ipaddress
import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from utils.errors import DataError

_PRINTABLE = re.compile("[!-~]+")
_LABEL = re.compile("(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_MAX_HOST = 253


def server_url(address: int | str) -> str:
    """Make the URL of a port on this machine, or check a URL.

    Raises:
        DataError: it is neither a port nor a URL that starts with http:// or https://, is in ASCII
            without spaces, and names a host; or it holds a password, which would be written down.

    >>> server_url(10002), server_url("10002"), server_url("http://gpu-box:10002")
    ('http://127.0.0.1:10002/', 'http://127.0.0.1:10002/', 'http://gpu-box:10002/')
    """
    is_number = isinstance(address, int) and not isinstance(address, bool)
    is_port = is_number or (isinstance(address, str) and address.isdecimal())
    has_password = False
    with suppress(ValueError):
        url = f"http://127.0.0.1:{address}/" if is_port else str(address)
        parts = urlsplit(url)
        has_password = "@" in parts.netloc
        if _PRINTABLE.fullmatch(url) and _is_complete(parts) and not has_password:
            return parts._replace(path=parts.path or "/", fragment="").geturl()
    if has_password:
        raise DataError("the URL of a face server names a user; give it without user and password")
    raise DataError(
        f"{address!r} is no address of a face server; expected a port from 1 to 65535, such as "
        "10002, or a URL, such as 'http://127.0.0.1:10002/'"
    )


def _is_complete(parts: SplitResult) -> bool:
    """Tell whether a URL names a host that can be; raises ValueError for a bad port."""
    return (
        parts.scheme in ("http", "https")
        and parts.port != 0
        and parts.hostname is not None
        and _is_host(parts.hostname)
    )


def _is_host(host: str) -> bool:
    if ":" in host:
        ipaddress.IPv6Address(host)  # raises ValueError
        return True
    labels = host.removesuffix(".").split(".")
    return len(host) <= _MAX_HOST and all(_LABEL.fullmatch(label) for label in labels)


def same_server(url: str) -> str:
    """Give two URLs of one server the same form.

    >>> same_server("HTTP://LocalHost") == same_server("http://127.0.0.1:80/")
    True
    """
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in ("localhost", "::1") else parts.hostname
    return f"{parts.scheme}://{host}:{port_of(parts)}{target_of(parts)}"


def port_of(parts: SplitResult) -> int:
    """Give the port of a URL, also when it does not name it."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def target_of(parts: SplitResult) -> str:
    """Give what a request names of a URL."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
