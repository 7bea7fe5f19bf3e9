"""Certificates that tests make, with the program openssl."""

import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="needs the program openssl, which makes certificates"
)
VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CONFIG = """
[ca]
default_ca = own
[own]
database = {folder}/index.txt
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = any
unique_subject = no
copy_extensions = copy
[any]
commonName = supplied
"""


def openssl(*arguments: object) -> str:
    command = ["openssl", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    return done.stdout


class Authority:
    """Signs certificates; `path` holds its own, `folder_of_hash` is a folder as OpenSSL reads."""

    def __init__(self, folder: Path) -> None:
        self._folder, self.path = folder, folder / "authority.pem"
        self._new_key(self.path, "authority", "-x509", "-days", 2)
        (folder / "index.txt").write_text("")
        (folder / "ca.cnf").write_text(CONFIG.format(folder=folder))
        self.folder_of_hash = folder / "hashed"
        self.folder_of_hash.mkdir()
        name = openssl("x509", "-in", self.path, "-noout", "-hash").strip()
        shutil.copy(self.path, self.folder_of_hash / f"{name}.0")

    def _new_key(self, path: Path, name: str, *options: object) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        key = path.with_suffix(".key")
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", key, "-out", path, *options)

    def signed(self, name: str, host: str = "IP:127.0.0.1", from_day: int = -1) -> Path:
        """Sign a certificate that holds for ten days, for 127.0.0.1 if nothing else is said."""
        path, asked = self._folder / f"{name}.pem", self._folder / f"{name}.csr"
        self._new_key(asked, name, "-addext", f"subjectAltName={host}")
        asked.with_suffix(".key").replace(path.with_suffix(".key"))
        start = datetime.now(UTC) + timedelta(days=from_day)
        dates = [f"{day:%Y%m%d%H%M%SZ}" for day in (start, start + timedelta(days=10))]
        given = ("-config", self._folder / "ca.cnf", "-cert", self.path, "-in", asked, "-out", path)
        own = ("-keyfile", self.path.with_suffix(".key"), "-startdate", dates[0])
        openssl("ca", "-batch", "-notext", *given, *own, "-enddate", dates[1])
        return path

    def self_signed(self, name: str) -> Path:
        """Make a certificate for 127.0.0.1 that nobody else signed."""
        path = self._folder / f"{name}.pem"
        self._new_key(path, name, "-x509", "-days", 2, "-addext", "subjectAltName=IP:127.0.0.1")
        return path


def serving_with(certificate: Path) -> ssl.SSLContext:
    """Make the TLS of a server that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    return context
