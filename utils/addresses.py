"""Addresses of servers: ports of this machine, and URLs."""

import ipaddress
import re
from contextlib import suppress
from urllib.parse import SplitResult, urlsplit

from utils.errors import DataError

_PRINTABLE = re.compile("[!-~]+")
_LABEL = re.compile("(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+):[0-9]{1,5}(/.*)?", re.IGNORECASE)
_MAX_HOST = 253


def server_url(address: int | str, kind: str = "a face server", port: int = 10002) -> str:
    """Return the URL of a port on this machine, of a host and its port, or of a checked URL.

    Args:
        address: what was given.
        kind: what should be there, for the error.
        port: that such a server has, for the error.

    Raises:
        DataError: it is neither a port nor a URL that starts with http:// or https://, is in ASCII
            without spaces, and names a host; or it holds a password, which would be written down.

    >>> server_url(10002), server_url("10002"), server_url("http://gpu-box:10002")
    ('http://127.0.0.1:10002/', 'http://127.0.0.1:10002/', 'http://gpu-box:10002/')
    >>> server_url("gpu-box:10002"), server_url("[::1]:7/faces")
    ('http://gpu-box:10002/', 'http://[::1]:7/faces')
    """
    with suppress(ValueError):
        url = _with_scheme(address)
        parts = urlsplit(url)
        if _PRINTABLE.fullmatch(url) and _is_complete(parts):
            return parts._replace(path=parts.path or "/", fragment="").geturl()
    if "@" in str(address):  # not shown: there may be a password in front of it
        raise DataError(
            f"the URL of {kind} names a user; give it without user and password, such as "
            f"'http://127.0.0.1:{port}/'"
        )
    raise DataError(
        f"{address!r} is no address of {kind}; expected a port from 1 to 65535, such as {port}, or "
        f"a URL, such as 'http://127.0.0.1:{port}/'"
    )


def _with_scheme(address: int | str) -> str:
    is_number = isinstance(address, int) and not isinstance(address, bool)
    if is_number or (isinstance(address, str) and address.isdecimal()):
        return f"http://127.0.0.1:{address}/"
    text = str(address)
    return f"http://{text}" if _HOST_AND_PORT.fullmatch(text) else text


def _is_complete(parts: SplitResult) -> bool:
    """Check that a URL names a host that can be, and no user; ValueError for a bad port."""
    return (
        parts.scheme in ("http", "https")
        and "@" not in parts.netloc
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
    """Return a URL in the form that all URLs of its server share.

    >>> same_server("HTTP://LocalHost") == same_server("http://127.0.0.1:80/")
    True
    """
    parts = urlsplit(url)
    host = "127.0.0.1" if parts.hostname in ("localhost", "::1") else parts.hostname
    return f"{parts.scheme}://{host}:{port_of(parts)}{target_of(parts)}"


def url_of(host: str, port: int) -> str:
    """Write the URL of a server that listens on an address.

    >>> url_of("127.0.0.1", 80), url_of("::1", 80)
    ('http://127.0.0.1:80/', 'http://[::1]:80/')
    """
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def port_of(parts: SplitResult) -> int:
    """Return the port of a URL, also when it does not name it."""
    return parts.port or (443 if parts.scheme == "https" else 80)


def target_of(parts: SplitResult) -> str:
    """Return what a request names of a URL: its path and query."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
