"""TLS of the clients: whom they trust, and why a connection fails, with what to do about it."""

import os
import socket
import ssl
from contextlib import suppress
from pathlib import Path

from http_client.errors import ServerAwayError
from utils.errors import DataError
from utils.paths import user_path

BUNDLES = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Variables that name files, or folders, of certificates to trust beside those of the system."""

USE_HTTP = "write http:// in place of https:// if it speaks no TLS"
USE_HTTPS = "write https:// in place of http://"
_TRUST = "name a file with {} in the variable SSL_CERT_FILE if you trust it"
_RENEW = "renew it, or set this machine's clock"
_UNKNOWN = "is signed by an authority that is not known here"
_REFUSALS = {
    18: ("is self-signed", _TRUST.format("it")),
    **dict.fromkeys((2, 19, 20, 21), (_UNKNOWN, _TRUST.format("the authority's certificate"))),
    9: ("is not valid yet", _RENEW),
    10: ("has expired", _RENEW),
    **dict.fromkeys((62, 64), ("is not for {host}", "use the name that it was made for")),
}
"""What is wrong with a server's certificate, and what to do, by OpenSSL's number of it."""

_NO_TLS = (
    *("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE"),
    *("PACKET_LENGTH_TOO_LONG", "UNEXPECTED_MESSAGE", "BAD_RECORD_TYPE"),
)
_VERSIONS = ("UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "NO_PROTOCOLS_AVAILABLE")
_FAILURES = {
    **dict.fromkeys(_NO_TLS, ("it does not speak TLS", USE_HTTP)),
    **dict.fromkeys(_VERSIONS, ("it speaks another version of TLS", "let it speak TLS 1.2 or 1.3")),
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": (
        "it asks for a certificate of the client",
        "this program has none to show",
    ),
}
"""Why TLS failed otherwise, and what to do, by OpenSSL's name of it."""


def client_context() -> ssl.SSLContext:
    """Return what verifies servers: by the system's authorities and those that variables name.

    OpenSSL itself heeds SSL_CERT_FILE and SSL_CERT_DIR; where the system has no authorities at
    all, those of the package certifi count, if it is installed.

    Raises:
        DataError: a variable names a file that holds no certificates.
        PathError: no file can have the path.
    """
    context = ssl.create_default_context()
    named = {name: os.environ[name] for name in BUNDLES if os.environ.get(name)}
    for name, path in named.items():
        _trust(context, name, path)
    if not named and not _has_authorities():
        with suppress(ImportError):
            import certifi

            context.load_verify_locations(certifi.where())
    return context


def _trust(context: ssl.SSLContext, name: str, text: str) -> None:
    path = user_path(text, name)
    try:
        if path.is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(cafile=path)
    except OSError as error:
        reason = "no certificates in it" if isinstance(error, ssl.SSLError) else error.strerror
        raise DataError(
            f"{name} is {text!r}: {reason}; expected a file of certificates in PEM form"
        ) from None


def _has_authorities() -> bool:
    paths = ssl.get_default_verify_paths()
    if paths.cafile:
        return True
    with suppress(OSError):
        return bool(paths.capath) and any(Path(paths.capath).iterdir())
    return False


def tls_error(error: ssl.SSLError, host: str) -> ServerAwayError:
    """Return the error for TLS that failed with a host, with what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        other = f"is refused: {error.verify_message}", "give it another one"
        refusal, remedy = _REFUSALS.get(error.verify_code, other)
        return ServerAwayError(f"its certificate {refusal.format(host=host)}", True, remedy=remedy)
    words = (error.reason or "no reason given").replace("_", " ").lower()
    other = f"TLS failed: {words}", "the server's own log may say more"
    reason, remedy = _FAILURES.get(error.reason or "", other)
    return ServerAwayError(reason, is_final=True, remedy=remedy)


def speaks_tls(address: tuple[str, int], timeout_s: float) -> bool:
    """Check whether a server speaks TLS, whoever it says it is; nothing is sent to it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with (
            socket.create_connection(address, timeout_s) as connection,
            context.wrap_socket(connection, server_hostname=address[0]),
        ):
            return True
    except OSError:
        return False
