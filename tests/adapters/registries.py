"""Registries for the tests of what talks to one: their content, a proxy that breaks, a certificate, tokens."""

import base64
import contextlib
import gzip
import http.server
import io
import ipaddress
import json
import os
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from pipeline import image
from pipeline.adapters.remote import BASE, Remote
from pipeline.image import Digest
from tests.cluster import rootfs
from tests.ports import free_port

LABELS = {"zeta.model": "category", "zeta.version": "4"}
BELOW = 3_000_000
"""Bytes of the base's lowest layer."""
DOCKER = {
    "manifest": "application/vnd.docker.distribution.manifest.v2+json",
    "config": "application/vnd.docker.container.image.v1+json",
    "layer": "application/vnd.docker.image.rootfs.diff.tar.gzip",
}
OCI = {"manifest": image.MANIFEST, "config": image.CONFIG, "layer": f"{image.LAYER}+gzip"}
USER, PASSWORD = "zeta", "pass:word"
# What `htpasswd -B` makes of them.
KNOWN = f"{USER}:$2y$05$FRm6Mehf6o229UuIPh4Cv.Tic/HmkrBJUmp2JuAsIk9ysNYb3tXpK\n"


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[str]:
    """Run Debian's registry; give HOST:PORT."""
    try:
        rootfs.program("docker-registry")
    except rootfs.Missing as error:
        pytest.skip(str(error))
    with rootfs.registry(folder, **settings) as address:
        yield address


def written(folder: Path, content: bytes = b"model" * 20_000) -> dict[str, Path]:
    """Write the sources of a model's layer."""
    for name, data in {"model/zeta.json": b"{}", "model/model.skops": content, "own/model.py": b"x = 1\n"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return {"/model": folder / "model", "/app/models/category": folder / "own"}


def application(folder: Path) -> dict[str, Path]:
    """Write the sources of a base's last layer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "errors.py").write_bytes(b"class ZetaError(Exception): ...\n")
    return {"/app/pipeline": folder}


def remote(address: str, name: str = "category", base: str | None = None) -> Remote:
    """Return images that no test may build a base for."""

    def never(images: Remote, files: object) -> Digest:
        raise AssertionError("nothing is to be built here")

    return Remote(address, name, never, base)


def pushed(address: str, kinds: dict[str, str] = OCI) -> Digest:
    """Push an image of one compressed layer to the repository of bases, as other tools do."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        info = tarfile.TarInfo("usr/lib/python")
        info.size = BELOW
        tar.addfile(info, io.BytesIO(os.urandom(BELOW)))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Labels": None, "User": "65532"},
        "rootfs": {"type": "layers", "diff_ids": [Digest.of(data.getvalue())]},
        "history": [{"created_by": "COPY"}],
    }
    host, slash, prefix = address.partition("/")
    root = f"http://{host}/v2/{prefix}{slash}{BASE}"
    parts = {"config": image.canonical(config), "layer": gzip.compress(data.getvalue(), 1)}
    described = {}
    for name, blob in parts.items():
        location = urljoin(root, requests.post(f"{root}/blobs/uploads/").headers["Location"])
        assert requests.put(location, data=blob, params={"digest": Digest.of(blob)}).status_code == 201
        described[name] = {"mediaType": kinds[name], "digest": Digest.of(blob), "size": len(blob)}
    content = {"mediaType": kinds["manifest"], "config": described["config"], "layers": [described["layer"]]}
    manifest = image.canonical({"schemaVersion": 2, **content})
    kind = {"Content-Type": kinds["manifest"]}
    assert requests.put(f"{root}/manifests/{Digest.of(manifest)}", data=manifest, headers=kind).status_code == 201
    return Digest.of(manifest)


def based(address: str, folder: Path, kinds: dict[str, str] = OCI) -> Digest:
    """Push a base that models lie on, tagged b1: what was built by others, and Zeta's application."""
    below = pushed(address, kinds)
    return remote(address).append((BASE, below), application(folder), {}, f"{BASE}:b1", {"ZETA_BASE": "b1"})


class Proxy:
    """A TCP proxy before a registry: it counts bytes, and after ``limit`` of them calls ``spent`` and ends all."""

    def __init__(self, target: str, limit: float = float("inf"), spent: Callable[[], object] = lambda: None) -> None:
        self.sent = self.received = 0
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._limit = limit
        self._spent = spent
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                for pair in ((client, server, True), (server, client, False)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, up: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                with self._lock:
                    data = data[: int(min(self._limit - self.sent - self.received, len(data)))]
                    self.sent += len(data) * up
                    self.received += len(data) * (not up)
                target.sendall(data)
                if self.sent + self.received >= self._limit:
                    self._spent()
                    self._end()
            target.shutdown(socket.SHUT_WR)

    def _end(self) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


class Certificate:
    """A key, and a certificate of 127.0.0.1 that signs itself, as ``ca.crt`` and ``key.pem`` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.path, self.key_path = folder / "ca.crt", folder / "key.pem"
        self.key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "registry")])
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        day, now = timedelta(days=1), datetime.now(UTC)
        builder = x509.CertificateBuilder(name, name, self.key.public_key(), 1, now - day, now + day)
        builder = builder.add_extension(names, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.made = builder.sign(self.key, hashes.SHA256())
        self.path.write_bytes(self.made.public_bytes(serialization.Encoding.PEM))
        form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        self.key_path.write_bytes(self.key.private_bytes(*form))

    def token(self, access: list[dict[str, Any]]) -> str:
        """Return a token of the registry's: JSON Web Token, ES256, the certificate in its head."""
        der = self.made.public_bytes(serialization.Encoding.DER)
        head = {"typ": "JWT", "alg": "ES256", "x5c": [base64.b64encode(der).decode()]}
        now = int(time.time())
        times = {"iat": now, "nbf": now - 10, "exp": now + 60}
        claims = {"iss": "zeta-tests", "sub": USER, "aud": "registry", "jti": str(time.time_ns()), "access": access}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (head, times | claims))
        r, s = decode_dss_signature(self.key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{_encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private(certificate: Certificate, known: Path) -> dict[str, Any]:
    """Return the settings of a registry with TLS that asks for a password."""
    port = free_port()
    tls = {"certificate": str(certificate.path), "key": str(certificate.key_path)}
    auth = {"htpasswd": {"realm": "registry", "path": str(known)}}
    return {"port": port, "http": {"addr": f"127.0.0.1:{port}", "tls": tls}, "auth": auth}


def logged_in(address: str, password: str = PASSWORD) -> str:
    """Return what `docker login` writes."""
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    return json.dumps({"auths": {address: {"auth": auth}}})


@contextlib.contextmanager
def tokens(certificate: Certificate) -> Iterator[dict[str, Any]]:
    """Run a server that gives a token of what is asked to who knows the password; give a registry's setting auth."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            expected = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            if self.headers.get("Authorization") != f"Basic {expected}":
                self.send_error(401)
                return
            scopes = " ".join(parse_qs(urlsplit(self.path).query).get("scope", [])).split()
            access = [
                {"type": kind, "name": name, "actions": actions.split(",")}
                for kind, name, actions in (scope.split(":") for scope in scopes)
            ]
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"token": certificate.token(access)}).encode())

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        trust = {"service": "registry", "issuer": "zeta-tests", "rootcertbundle": str(certificate.path)}
        yield {"token": {"realm": f"http://127.0.0.1:{server.server_port}/token", **trust}}
        server.shutdown()
