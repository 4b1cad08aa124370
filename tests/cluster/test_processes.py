"""Processes are the cluster's by their control group."""

import os
import sys

import pytest

from tests.cluster import processes
from tests.cluster.components import Component, start
from tests.cluster.steps import Failed, wait
from tests.ports import free_port


@pytest.fixture
def group(monkeypatch):
    """A control group of the test's own in the place of the cluster's."""
    if os.geteuid() or not os.access(next(iter(processes.hierarchies()), "/none"), os.W_OK):
        pytest.skip("a control group wants root")
    name = f"zeta-test-{os.getpid()}"
    monkeypatch.setattr(processes, "OWN", name)
    monkeypatch.setattr(processes, "GROUPS", (name,))
    yield name
    processes.kill()


def test_children_of_a_component_end_with_it(group, tmp_path):
    processes.start(("sh", "-c", "sleep 61 & setsid sleep 62 & wait"), {}, tmp_path / "log")
    wait("its children", lambda: {("sleep", "61"), ("sleep", "62")} <= processes.running())
    assert os.getpid() not in processes.members(group)
    assert processes.memory() > 0

    processes.kill()

    assert processes.members(group) == set()
    assert not any((root / group).exists() for root in processes.hierarchies())


def test_a_component_starts_when_what_it_needs_is_ready_and_only_once(group, tmp_path):
    (tmp_path / "log").mkdir()
    ports = free_port(), free_port()
    first, second = (
        Component(
            name,
            (sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)),
            f"http://127.0.0.1:{port}/",
            {},
            after,
        )
        for name, port, after in (("first", ports[0], ()), ("second", ports[1], ("first",)))
    )
    start([second, first], tmp_path)
    running = processes.members(group)
    assert len(running) == 2

    start([second, first], tmp_path)

    assert processes.members(group) == running


def test_a_component_that_dies_is_named_with_the_end_of_its_log(group, tmp_path):
    (tmp_path / "log").mkdir()
    broken = Component("etcd", ("sh", "-c", "echo no space left; exit 1"), "http://127.0.0.1:1/", {}, ())
    with pytest.raises(Failed, match=r"(?s)etcd does not answer.*no space left"):
        start([broken], tmp_path)
