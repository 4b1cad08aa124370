"""What the cluster changes on this machine outside of its own folder: remembered before, and brought back after."""

import re
import shutil
from pathlib import Path
from typing import Any

from tests.cluster import processes
from tests.cluster.steps import Failed, run

NODE, LOCAL = "10.99.0.1", "127.99.0.1"
"""The node's address, for pods and for this machine; and one for what only this machine asks."""
_BRIDGE = "zeta-node"
_NEEDED = ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables", "net/ipv4/conf/all/route_localnet")
# The kubelet, kube-proxy and Docker set more.
_CHANGED = (
    *_NEEDED, "net/bridge/bridge-nf-call-ip6tables", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory",
    "vm/panic_on_oom", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
)  # fmt: skip
_PATHS = (
    "/etc/docker", "/opt/containerd", "/run/containerd", "/run/docker", "/run/docker.sock", "/run/xtables.lock",
    "/var/lib/cni", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods",
)  # fmt: skip
_TABLES = ("iptables", "ip6tables")


def snapshot() -> dict[str, Any]:
    """Return what ``restore`` wants to know of the machine as it is now. Raises Failed when it is in use already."""
    for root in processes.hierarchies():
        if (root / "kubepods").exists():
            raise Failed("a kubelet runs on this machine already; give its KUBECONFIG, and a registry as ZETA_REGISTRY")
    return {
        "settings": {name: _setting(name).read_text().strip() for name in _CHANGED if _setting(name).exists()},
        "absent": [path for path in _PATHS if not Path(path).exists()],
        "links": _links(),
        "rules": {tables: run(f"{tables}-save") for tables in _TABLES},
    }


def prepare() -> None:
    """Give the node its address and let it route."""
    if not _setting("net/bridge/bridge-nf-call-iptables").exists():
        run("modprobe", "br_netfilter")
    for name in _NEEDED:
        _setting(name).write_text("1")
    if _BRIDGE not in _links():
        run("ip", "link", "add", _BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{NODE}/24", "dev", _BRIDGE)
    run("ip", "link", "set", _BRIDGE, "up")


def restore(before: dict[str, Any], state: Path) -> None:
    """Bring back what ``snapshot`` saw, when all processes are gone. What Docker did too, if it was the cluster's."""
    links, rules = "zeta-node|zeta-pods", r"KUBE-|CNI-|10\.244\."
    if (state / "docker").exists():
        bridges = "docker0|br-[0-9a-f]{12}"
        links, rules = f"{links}|{bridges}", f"{rules}|DOCKER|{bridges}"
    unmount(state)
    for link in set(_links()) - set(before["links"]):
        if re.fullmatch(links, link):
            run("ip", "link", "delete", link)
    for tables, saved in before["rules"].items():
        run(f"{tables}-restore", "--noflush", given=removal(saved, run(f"{tables}-save"), rules))
        if (state / "docker").exists():
            run(tables, "--policy", "FORWARD", "DROP" if ":FORWARD DROP" in saved else "ACCEPT")
        _drop_empty(tables, saved)
    for name, value in before["settings"].items():
        if _setting(name).read_text().strip() != value:
            _setting(name).write_text(value)
    shared = processes.exists("containerd")
    for path in map(Path, before["absent"]):
        # Someone else's containerd may use by now what was not there before.
        if not shared or path.name not in ("containerd", "docker"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def removal(before: str, after: str, ours: str) -> str:
    """Return what `iptables-restore --noflush` reads to take away what was added since, as far as it matches ``ours``.

    ``before`` and ``after`` are what `iptables-save` printed.
    """
    known, script = _tables(before), []
    for table, lines in _tables(after).items():
        added = [line for line in lines if line not in known.get(table, []) and re.search(ours, line)]
        chains = [line.removeprefix(":") for line in added if line.startswith(":")]
        rules = [line for line in added if line.startswith("-A ") and line.split()[1] not in chains]
        # A chain that is declared is emptied; then no rule names one that is deleted.
        script += [f"*{table}", *(f":{chain} - [0:0]" for chain in chains), *(f"-D {rule[3:]}" for rule in rules)]
        script += [*(f"-X {chain}" for chain in chains), "COMMIT"]
    return "\n".join([*script, ""])


def _drop_empty(tables: str, before: str) -> None:
    """Delete the tables that were not there and hold nothing. Those of the older iptables are a part of the kernel."""
    family = {"iptables": "ip", "ip6tables": "ip6"}[tables]
    for table, lines in _tables(run(f"{tables}-save")).items():
        empty = table not in _tables(before) and not any(line.startswith("-A ") for line in lines)
        if empty and "nf_tables" in run(tables, "--version"):
            run("nft", "delete", "table", family, table)


def _tables(saved: str) -> dict[str, list[str]]:
    """Return the chains (without policy and counts) and the rules of each table."""
    found: dict[str, list[str]] = {}
    for line in saved.splitlines():
        if line.startswith("*"):
            lines = found.setdefault(line[1:], [])
        elif line.startswith((":", "-A ")):
            lines.append(line.split()[0] if line.startswith(":") else line)
    return found


def unmount(state: Path) -> None:
    """Unmount all below the folder, so that removing it removes nothing else. Raises Failed when something stays."""
    for folder in reversed(_mounts(state)):
        run("umount", "--lazy", folder)
    if left := _mounts(state):
        raise Failed(f"still mounted: {', '.join(left)}; unmount it and try again")


def _mounts(state: Path) -> list[str]:
    folders = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [folder for folder in folders if folder.startswith(f"{state}/")]


def _links() -> list[str]:
    return [path.name for path in Path("/sys/class/net").iterdir()]


def _setting(name: str) -> Path:
    return Path("/proc/sys", name)
