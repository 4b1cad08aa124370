"""What `down` takes away of the firewall, on a real one in a network namespace of its own."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cluster.machine import removal
from tests.cluster.steps import wait

OTHERS = """*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:CNI-OTHER - [0:0]
-A POSTROUTING -s 10.88.0.2/32 -j CNI-OTHER
-A CNI-OTHER -j MASQUERADE
COMMIT
*filter
:INPUT DROP [0:0]
:FORWARD ACCEPT [0:0]
-A INPUT -i lo -j ACCEPT
COMMIT
"""
ADDED = """*nat
:KUBE-SERVICES - [0:0]
:CNI-0123 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -s 10.244.0.2/32 -m comment --comment "name: \\"zeta-pods\\"" -j CNI-0123
-A CNI-0123 ! -d 224.0.0.0/4 -j MASQUERADE
-A CNI-OTHER -s 10.244.0.2/32 -j ACCEPT
COMMIT
*filter
:KUBE-FORWARD - [0:0]
:KUBE-FIREWALL - [0:0]
-A FORWARD -j KUBE-FORWARD
-A KUBE-FORWARD -j KUBE-FIREWALL
COMMIT
"""


@pytest.fixture
def firewall():
    """Run an iptables command in an empty network namespace: ``firewall("iptables-save")``."""
    if os.geteuid() or shutil.which("iptables") is None:
        pytest.skip("a network namespace wants root, and iptables")
    with subprocess.Popen(["unshare", "--net", "sleep", "60"]) as holder:
        enter = ["nsenter", f"--net=/proc/{holder.pid}/ns/net"]
        here, there = Path("/proc/self/ns/net"), Path(f"/proc/{holder.pid}/ns/net")
        wait("a namespace", lambda: here.readlink() != there.readlink())
        yield (
            lambda *command, given=None: (
                subprocess.run([*enter, *command], input=given, check=True, capture_output=True, text=True).stdout
            )
        )
        holder.kill()


def rules(saved):
    return [line for line in saved.splitlines() if not line.startswith(("#", ":INPUT", ":FORWARD", ":OUTPUT"))]


def test_what_the_cluster_added_goes_and_what_others_have_stays(firewall):
    firewall("iptables-restore", given=OTHERS)
    before = firewall("iptables-save")
    firewall("iptables-restore", "--noflush", given=ADDED)
    after = firewall("iptables-save")
    assert rules(after) != rules(before)

    firewall("iptables-restore", "--noflush", given=removal(before, after, r"KUBE-|CNI-|10\.244\."))

    assert rules(firewall("iptables-save")) == rules(before)
    assert ":INPUT DROP" in firewall("iptables-save")


def test_a_rule_that_another_program_added_meanwhile_stays():
    meanwhile = OTHERS.replace("COMMIT\n*filter", "-A POSTROUTING -o tun0 -j MASQUERADE\nCOMMIT\n*filter")
    assert removal(OTHERS, meanwhile, "KUBE-|CNI-") == "*nat\nCOMMIT\n*filter\nCOMMIT\n"
