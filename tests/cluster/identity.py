"""Who is who in the cluster: an authority of its own, the certificates that it signs, kubeconfig files."""

import base64
import json
from pathlib import Path

from tests.cluster.machine import LOCAL, NODE
from tests.cluster.steps import run

_SERVICE = "10.96.0.1"
"""The first address of the services' range: the API server's, from a pod."""
_HOSTS = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
_NAMES = ",".join([*(f"DNS:{host}" for host in _HOSTS), *(f"IP:{address}" for address in (NODE, LOCAL, _SERVICE))])
SUBJECTS = {
    "admin": "/O=system:masters/CN=admin",
    "kube-apiserver": "/CN=kube-apiserver",
    "kube-controller-manager": "/CN=system:kube-controller-manager",
    "kube-proxy": "/CN=system:kube-proxy",
    "kube-scheduler": "/CN=system:kube-scheduler",
    "kubelet": "/O=system:nodes/CN=system:node:zeta",
    "service-accounts": "/CN=service-accounts",
}


def issue(pki: Path, config: Path) -> None:
    """Write keys and certificates to ``pki``, kubeconfig files to ``config``; what is there stays."""
    pki.mkdir(mode=0o700, exist_ok=True)
    if not (pki / "ca.crt").exists():
        _certificate(pki, "ca", "/CN=zeta-cluster", "keyUsage=critical,keyCertSign,cRLSign")
    signer = ("-CA", pki / "ca.crt", "-CAkey", pki / "ca.key", "-addext", f"subjectAltName={_NAMES}")
    for name, subject in SUBJECTS.items():
        if not (config / f"{name}.kubeconfig").exists():
            _certificate(pki, name, subject, "extendedKeyUsage=serverAuth,clientAuth", *signer)
            (config / f"{name}.kubeconfig").write_text(_kubeconfig(pki, name))
            (config / f"{name}.kubeconfig").chmod(0o600)


def _certificate(pki: Path, name: str, subject: str, use: str, *options: str | Path) -> None:
    made = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc", "-days", "365")
    files = ("-keyout", pki / f"{name}.key", "-out", pki / f"{name}.crt")
    run("openssl", "req", "-x509", *made, *files, "-subj", subject, "-addext", use, *options)


def _kubeconfig(pki: Path, name: str) -> str:
    def data(file: str) -> str:
        return base64.b64encode((pki / file).read_bytes()).decode()

    cluster = {"server": f"https://{NODE}:6443", "certificate-authority-data": data("ca.crt")}
    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    # JSON is YAML too.
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "zeta", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "zeta", "context": {"cluster": "zeta", "user": name}}],
            "current-context": "zeta",
        },
        indent=1,
    )
