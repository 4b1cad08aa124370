"""Detached processes: started once, found again, ended with all they started."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.adapters.processes import Processes, last_lines

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
FAMILY = ["/bin/sh", "-c", "trap '' TERM; sleep 600 & echo child $!; wait; wait"]


@pytest.fixture
def processes(tmp_path):
    room = Processes(tmp_path / "run", tmp_path / "log")
    yield room
    for file in (tmp_path / "run").glob("*.pid"):
        room.stop(file.stem, grace=0.1)


def running(pid):
    stat = Path(f"/proc/{pid}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_for(condition):
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_started_once_and_found_by_others(processes, tmp_path):
    pid = processes.start("one", SLEEP, os.environ, tmp_path)
    assert processes.start("one", SLEEP, os.environ, tmp_path) == pid
    assert Processes(tmp_path / "run", tmp_path / "log").pid("one") == pid
    assert os.getsid(pid) == pid


def test_environment_directory_and_log_are_the_processes_own(processes, tmp_path):
    processes.start("say", ["/bin/sh", "-c", 'echo "$WORD from $PWD"; echo oops >&2'], {"WORD": "hello"}, tmp_path)
    wait_for(lambda: not processes.alive("say"))
    assert last_lines(processes.log("say")) == f"hello from {tmp_path}\noops"
    assert last_lines(processes.log("say"), count=1) == "oops"
    assert last_lines(tmp_path / "absent") == ""


def test_stop_ends_the_whole_group_even_what_ignores_sigterm(processes, tmp_path):
    leader = processes.start("family", FAMILY, os.environ, tmp_path)
    wait_for(lambda: "child" in last_lines(processes.log("family")))
    child = int(last_lines(processes.log("family")).split()[1])
    processes.stop("family", grace=0.2)
    assert not running(leader)
    assert not running(child)
    assert not processes.alive("family")
    processes.stop("family")


def test_stop_ends_what_a_dead_leader_left(processes, tmp_path):
    leader = processes.start("family", FAMILY, os.environ, tmp_path)
    wait_for(lambda: "child" in last_lines(processes.log("family")))
    child = int(last_lines(processes.log("family")).split()[1])
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: not running(leader))
    assert not processes.alive("family")
    os.waitpid(leader, 0)
    processes.stop("family", grace=5)
    assert not running(child)


def test_a_pid_that_was_used_again_is_another_process(processes, tmp_path):
    processes.start("one", SLEEP, os.environ, tmp_path)
    processes.stop("one")
    with subprocess.Popen(SLEEP, start_new_session=True) as stranger:
        for boot in (Path("/proc/sys/kernel/random/boot_id").read_text().strip(), "another-boot"):
            stat = Path(f"/proc/{stranger.pid}/stat").read_text().split()
            stat[21] = stat[21] if boot == "another-boot" else "1"
            (tmp_path / "run" / "one.pid").write_text(f"{boot}\n{' '.join(stat)}\n")
            assert not processes.alive("one")
            processes.stop("one", grace=0.1)
            assert stranger.poll() is None
        stranger.kill()


@pytest.mark.parametrize("content", ["", "boot\n", "x\ny\nz\n"])
def test_a_pid_file_that_was_not_written_whole_is_none(processes, tmp_path, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "one.pid").write_text(content)
    assert not processes.alive("one")
    assert processes.start("one", SLEEP, os.environ, tmp_path) == processes.pid("one")
