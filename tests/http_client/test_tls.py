"""Both clients against servers that speak TLS, or do not, with certificates that the tests make."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from certificates import VARIABLES, Authority, needs_openssl, serving_with
from conftest import RunScript
from flask import Flask
from served import running, save_photo

from faces.client import FaceServer, ServerAwayError
from faces.wire import encode_faces
from http_client.tls import tls_error
from photo_client.server import AgeGenderServer
from utils.errors import DataError, UserError

HEALTH = {"models": {name: {"name": name, "num_classes": 2} for name in ("age", "gender")}}
Ask = Callable[[str], None]


def both() -> Flask:
    """Make a server that is a face server and one of ages and genders."""
    application = Flask("both")
    application.add_url_rule("/health", "health", lambda: HEALTH)
    application.add_url_rule("/", "faces", lambda: encode_faces([]), methods=["POST"])
    return application


def ask_for_faces(url: str) -> None:
    server = FaceServer(url, timeout_s=5)
    try:
        server.probe()
        server.probe()  # over the connection that is kept
    finally:
        server.close()


def ask_for_models(url: str) -> None:
    server = AgeGenderServer(url, timeout_s=5)
    try:
        server.health()
        server.health()
    finally:
        server.close()


both_clients = pytest.mark.parametrize("ask", [ask_for_faces, ask_for_models])


@pytest.fixture(autouse=True)
def _nothing_is_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def url(authority: Authority) -> Iterator[str]:
    with running(both(), serving_with(authority.signed("good"))) as address:
        yield address


def complaint(ask: Ask, url: str) -> str:
    """Return the one line in which a client says why it got no answer."""
    with pytest.raises((UserError, ServerAwayError)) as caught:
        ask(url)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- who is trusted -------------------------------------------------------------------------------


@needs_openssl
@both_clients
@pytest.mark.parametrize("variable", VARIABLES)
def test_an_authority_that_a_variable_names_is_trusted(
    variable: str, ask: Ask, url: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_folder = variable == "SSL_CERT_DIR"
    monkeypatch.setenv(variable, str(authority.folder_of_hash if is_folder else authority.path))
    ask(url)


@needs_openssl
@both_clients
def test_of_several_variables_each_counts(
    ask: Ask, url: str, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("other").mkdir()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path / "other").path))
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    ask(url)


@needs_openssl
@both_clients
@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_a_bundle_may_be_a_folder_and_begin_with_the_home_folder(
    variable: str, ask: Ask, url: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(authority.folder_of_hash.parent))
    monkeypatch.setenv(variable, "~/hashed")
    ask(url)


@needs_openssl
@both_clients
def test_a_self_signed_certificate_that_is_named_is_trusted(
    ask: Ask, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = authority.self_signed("alone")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with running(both(), serving_with(certificate)) as url:
        ask(url)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), ("none", "no certificates in it")]
)
@both_clients
def test_a_variable_that_names_no_certificates_is_one_line(
    variable: str,
    content: str | None,
    reason: str,
    ask: Ask,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / "bundle.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(DataError, match=f"{variable} is '{path}': {reason}; expected a file"):
        ask("https://127.0.0.1:9/")
    assert "nothing listens" in complaint(ask, "http://127.0.0.1:9/")  # which needs none


# --- why it fails ---------------------------------------------------------------------------------


CERTIFICATES: dict[str, tuple[Callable[[Authority], Path], str, str]] = {
    "self-signed": (
        lambda authority: authority.self_signed("self"),
        "its certificate is self-signed; name a file with it in the variable SSL_CERT_FILE",
        "nobody",
    ),
    "of an unknown authority": (
        lambda authority: authority.signed("unknown"),
        "its certificate is signed by an authority that is not known here; name a file with the ",
        "nobody",
    ),
    "of yesterday": (
        lambda authority: authority.signed("old", from_day=-20),
        "its certificate has expired; renew it, or set this machine's clock",
        "the authority",
    ),
    "of tomorrow": (
        lambda authority: authority.signed("new", from_day=5),
        "its certificate is not valid yet; renew it, or set this machine's clock",
        "the authority",
    ),
    "of another address": (
        lambda authority: authority.signed("address", "IP:127.0.0.2"),
        "its certificate is not for 127.0.0.1; use the name that it was made for",
        "the authority",
    ),
    "of another name": (
        lambda authority: authority.signed("name", "DNS:faces.example"),
        "its certificate is not for 127.0.0.1; use the name that it was made for",
        "the authority",
    ),
}


@needs_openssl
@both_clients
@pytest.mark.parametrize("what", CERTIFICATES)
def test_a_certificate_that_is_refused_is_told_with_the_remedy(
    what: str, ask: Ask, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, message, trusted = CERTIFICATES[what]
    if trusted == "the authority":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    with running(both(), serving_with(make(authority))) as url:
        assert message in complaint(ask, url)


@needs_openssl
@both_clients
def test_a_server_that_wants_a_certificate_of_the_client_is_told(
    ask: Ask, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
    context = serving_with(authority.signed("mutual"))
    context.load_verify_locations(authority.path)
    context.verify_mode = ssl.CERT_REQUIRED
    with running(both(), context) as url:
        found = complaint(ask, url)
    assert "certificate of the client" in found or "broke" in found  # the alert may come too late
    assert "http://" not in found


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV1_ALERT_PROTOCOL_VERSION", "it speaks another version of TLS"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "TLS failed: sslv3 alert handshake failure"),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "it asks for a certificate of the client"),
        ("RECORD_LAYER_FAILURE", "it does not speak TLS"),
        ("", "TLS failed: no reason given"),
    ],
)
def test_other_failures_are_told_too(reason: str, words: str) -> None:
    error = ssl.SSLError(1, "")
    error.reason = reason
    assert str(tls_error(error, "a")).startswith(words)


# --- TLS where there is none, and the reverse -----------------------------------------------------


@contextmanager
def saying(content: bytes | None) -> Iterator[str]:
    """Answer every connection, once something came, with these bytes; None says nothing."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                if content is None:
                    held.append(connection)
                    continue
                with connection, suppress(OSError):
                    connection.recv(2**16)
                    connection.sendall(content)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(2**16):
                        pass

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for connection in held:
            connection.close()


BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s"
NO_TLS = [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.9\r\n", b""]


@both_clients
@pytest.mark.parametrize("content", NO_TLS)
def test_https_where_no_tls_is_spoken_is_told(ask: Ask, content: bytes) -> None:
    with saying(content) as address:
        found = complaint(ask, f"https://{address}")
    assert "it does not speak TLS" in found or "the connection broke within TLS" in found
    assert "write http:// in place of https://" in found


def test_https_where_nothing_is_said_is_given_up_before_long() -> None:
    with saying(None) as address:
        server = FaceServer(f"https://{address}", timeout_s=0.2)
        with pytest.raises(ServerAwayError, match=r"no TLS within 0\.2 s; write http:// in place"):
            server.probe()
        server.close()


def page(text: bytes) -> bytes:
    return BAD_REQUEST % (len(text), text)


@both_clients
@pytest.mark.parametrize(
    "content",
    [
        page(b"<html>The plain HTTP request was sent to HTTPS port</html>"),
        page(b"Client sent an HTTP request to an HTTPS server."),
        b"\x15\x03\x03\x00\x02\x02\x46",
    ],
)
def test_http_where_tls_is_spoken_is_told_by_what_such_servers_say(
    ask: Ask, content: bytes
) -> None:
    with saying(content) as address:
        assert "it speaks TLS; write https:// in place of http://" in complaint(
            ask, f"http://{address}"
        )


@needs_openssl
@both_clients
def test_http_to_a_server_that_only_breaks_off_is_told_by_a_look_at_its_tls(
    ask: Ask, url: str
) -> None:
    found = complaint(ask, url.replace("https:", "http:"))
    assert "it speaks TLS; write https:// in place of http://" in found


@both_clients
def test_a_server_that_breaks_off_and_speaks_no_tls_is_away(ask: Ask) -> None:
    with saying(b"") as address:
        found = complaint(ask, f"http://{address}")
    assert "https" not in found


@needs_openssl
def test_the_program_ends_with_one_line(
    run_script: RunScript, url: str, authority: Authority, tmp_path: Path
) -> None:
    photo = save_photo(tmp_path / "photo.jpg", 1)
    outcome = run_script("client.py", "--image-path", photo, "--url-age-gender", url)
    assert outcome.code == 2
    assert outcome.err == (
        f"error: the age-gender server at {url} cannot be asked: its certificate is signed by an "
        "authority that is not known here; name a file with the authority's certificate in the "
        "variable SSL_CERT_FILE if you trust it; or give its address with --url-age-gender\n"
    )


# --- proxies of the shell -------------------------------------------------------------------------


def not_known(host: str, *_: object, **__: object) -> list[object]:
    if host != "127.0.0.1":
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    raise ConnectionRefusedError


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_proxy_that_is_not_asked_is_named_where_no_server_is_found(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://user:secret@proxy:3128")
    monkeypatch.setattr(socket, "getaddrinfo", not_known)
    found = complaint(ask_for_models, "http://faces.invalid:10003/")
    assert f"{variable.upper()} is set, and not used: servers are asked directly" in found
    assert "secret" not in found
    assert "PROXY" not in complaint(ask_for_models, "http://127.0.0.1:9/")
    monkeypatch.setenv("no_proxy", ".invalid")
    assert "PROXY" not in complaint(ask_for_models, "http://faces.invalid:10003/")
