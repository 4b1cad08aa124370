"""Requests to one registry: credentials and certificates as Docker has them, and an error for what to do next.

``oras`` fetches tokens and holds the session, without the cookies that make some registries ask for more. Its own
requests are not used: they try for two minutes what failed, and hold what they send in memory.
Protocol: https://github.com/opencontainers/distribution-spec (v1.1).
"""

import base64
import functools
import hashlib
import re
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import docker.auth
import docker.errors
import requests
from oras.provider import Registry
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from pipeline.errors import ConfigError, Permanent, Temporary, ZetaError
from pipeline.image import Descriptor

# Where Docker, containerd and skopeo look too: HOST:PORT/ca.crt.
CERTIFICATES = Path("/etc/docker/certs.d")
_CONNECT_SECONDS, _ANSWER_SECONDS = 10.0, 30.0
# A registry hashes a big layer before it answers.
_STORE_SECONDS = 300.0
_CHUNK = 1 << 18
_ADDRESS = re.compile(r"(?:(https?)://)?([a-zA-Z0-9.-]+(?::[0-9]+)?|\[[0-9a-f:]+\](?::[0-9]+)?)((?:/[a-z0-9._-]+)*)/?")
_LOOPBACK = re.compile(r"(127\.[0-9.]+|localhost|\[::1\])(:[0-9]+)?")
# A registry that keeps files fails to read a tag while another process writes it.
_AGAIN = Retry(
    2, backoff_factor=0.1, allowed_methods=("GET", "HEAD"), status_forcelist=(500, 502, 503), raise_on_status=False
)
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "WRONG_VERSION_NUMBER")


def _changed() -> ZetaError:
    return Temporary("what is sent changed meanwhile; run the step again when it is still")


@dataclass(frozen=True)
class Content:
    """The bytes of a descriptor, made anew each time they are read, never all in memory; ``fault`` if they differ."""

    described: Descriptor
    chunks: Callable[[], Iterable[bytes]]
    fault: ZetaError = field(default_factory=_changed)

    def __len__(self) -> int:
        return self.described.size

    def __iter__(self) -> Iterator[bytes]:
        seen, left = hashlib.sha256(), self.described.size
        for chunk in self.chunks():
            seen.update(chunk)
            left -= len(chunk)
            if left < 0:
                raise self.fault
            yield chunk
        if left or seen.hexdigest() != self.described.digest.hex:
            raise self.fault


class Transport:
    """The registry at ``address``: [http://|https://]HOST[:PORT][/PREFIX]; ConfigError for any other text.

    Without a scheme it is https, and on a loopback address http, as for Docker. A prefix stands before each repository.
    """

    def __init__(self, address: str) -> None:
        match = _ADDRESS.fullmatch(address)
        if not match or not re.search("[.:]|^localhost$", match[2]):
            expected = "HOST[:PORT][/PREFIX] such as registry.example:5000/zeta"
            raise ConfigError(f"ZETA_REGISTRY={address!r}: expected {expected}")
        scheme = match[1] or ("http" if _LOOPBACK.fullmatch(match[2]) else "https")
        self.host = match[2]
        self.prefix = match[3].removeprefix("/") + "/" if match[3] else ""
        self._origin = f"{scheme}://{self.host}/"
        authority = CERTIFICATES / self.host / "ca.crt"
        self._verify = str(authority) if authority.is_file() else True
        self._oras = Registry(hostname=self.host, insecure=scheme == "http", tls_verify=self._verify)
        self._oras.session.mount(self._origin, HTTPAdapter(max_retries=_AGAIN))
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()

    def request(
        self,
        method: str,
        path: str,
        expected: Collection[int],
        headers: Mapping[str, str] | None = None,
        body: bytes | Content | None = None,
        params: Mapping[str, str] | None = None,
        stream: bool = False,
    ) -> requests.Response:
        """Return the answer, whose status is an expected one.

        ``path`` is <repository>/..., or a URL that the registry has given. Raises Temporary when the registry is not
        there or busy, ConfigError when it lets nobody in or is not to be trusted, Permanent for what it refuses.
        """
        url = urljoin(f"{self._origin}v2/{self.prefix}", path)
        send = functools.partial(
            self._oras.session.request, method, url, data=body, params=params, stream=stream, verify=self._verify,
            timeout=(_CONNECT_SECONDS, _STORE_SECONDS if method == "PUT" else _ANSWER_SECONDS),
        )  # fmt: skip
        # A registry may point to another host, which is not to see who we are.
        ours = url.startswith(self._origin)
        with self._faults():
            response = send(headers={**(headers or {}), **(self._authorization if ours else {})})
            if ours and response.status_code == 401:
                response = send(headers={**(headers or {}), **self._log_in(response)})
        if response.status_code not in expected:
            raise self._refusal(response)
        return response

    def download(self, repository: str, blob: Descriptor) -> Iterator[bytes]:
        """Yield a blob's bytes; Permanent at the end when they are not those of its digest."""
        fault = Permanent(f"registry {self.host}: {repository}@{blob.digest} is damaged; remove it and build it again")
        with self.request("GET", f"{repository}/blobs/{blob.digest}", {200}, stream=True) as response, self._faults():
            yield from Content(blob, lambda: response.iter_content(_CHUNK), fault)

    def _log_in(self, challenge: requests.Response) -> dict[str, str]:
        """Return the header that answers a challenge, to be sent from now on; a token differs by what it is for."""
        with self._lock:
            found = self._known()
            if challenge.headers.get("Www-Authenticate", "").lower().startswith("basic"):
                pair = base64.b64encode(":".join(found).encode()).decode() if found else None
                self._authorization = {"Authorization": f"Basic {pair}"} if pair else {}
            else:
                if found:
                    self._oras.auth.set_basic_auth(*found)
                self._authorization, _ = self._oras.auth.authenticate_request(challenge, {}, refresh=True)
            return self._authorization

    def _known(self) -> tuple[str, str] | None:
        try:
            found: Mapping[str, Any] = docker.auth.load_config().resolve_authconfig(self.host) or {}
        except docker.errors.DockerException as error:
            raise ConfigError(f"registry {self.host}: Docker's config gives no credentials: {error}") from error
        named = {key.lower(): value for key, value in found.items()}
        return (named["username"], named["password"]) if named.get("username") else None

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except requests.exceptions.RequestException as error:
            if isinstance(error, requests.exceptions.SSLError) and any(sign in str(error) for sign in _UNTRUSTED):
                remedy = f"put its CA's certificate at {CERTIFICATES / self.host}/ca.crt or into $REQUESTS_CA_BUNDLE"
                plain = f"for one without TLS set ZETA_REGISTRY=http://{self.host}/{self.prefix}"
                raise ConfigError(f"registry {self.host} is not to be trusted: {error}; {remedy}; {plain}") from error
            remedy = "see that it runs and can be reached, then run the step again"
            raise Temporary(f"registry {self.host} does not answer: {error}; {remedy}") from error

    def _refusal(self, response: requests.Response) -> ZetaError:
        said = f"{response.status_code} {response.reason} {response.text[:500].strip()}".strip()
        place, _, _ = response.url.partition("?")
        what = f"registry {self.host} answers {response.request.method} {place} with {said}"
        if response.status_code in (401, 403):
            return ConfigError(f"{what}; expected credentials that may pull and push: docker login {self.host}")
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            return Temporary(f"{what}; run the step again later")
        return Permanent(f"{what}; see the registry's log")
