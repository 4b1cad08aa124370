"""The state of one model's local release, on disk: what is desired, what was observed, and its port."""

import os
import socket
import time
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from pipeline.errors import Permanent

HOST = "127.0.0.1"
State = Literal["starting", "ready", "failed"]
_T = TypeVar("_T", bound=msgspec.Struct)
_PORTS = 1000
_BACKLOG = 2048


class Wanted(msgspec.Struct, frozen=True):
    """A model version, its image's digest and where that is unpacked."""

    version: str
    digest: str
    root: str


class Desired(msgspec.Struct, frozen=True):
    """What is to run. Each wish has a number of its own, one more than the last."""

    generation: int = 0
    stable: Wanted | None = None
    canary: Wanted | None = None


class Seen(msgspec.Struct, frozen=True):
    """A server as the supervisor sees it; ``failed``: it exited or is not ready, and ``error`` says why."""

    version: str
    digest: str
    state: State
    address: str
    pid: int | None = None
    restarts: int = 0
    error: str = ""


class Observed(msgspec.Struct, frozen=True):
    """What runs, after the wish ``generation`` was taken up by the supervisor with the pid ``supervisor``.

    ``stable`` serves; ``incoming`` is to take over from it once it is ready; ``stopping`` are pids.
    ``serving`` was the last stable to be ready: it goes on until another one is.
    """

    generation: int
    supervisor: int
    stable: Seen | None = None
    incoming: Seen | None = None
    canary: Seen | None = None
    stopping: list[int] = []
    serving: Wanted | None = None

    @property
    def settled(self) -> bool:
        """Whether nothing is under way."""
        seen = (self.stable, self.incoming, self.canary)
        return not self.stopping and all(one is None or one.state != "starting" for one in seen)


class Releases:
    """The files of one model's release, in home/releases/NAME. Each is replaced as a whole or not at all."""

    def __init__(self, home: Path, name: str) -> None:
        self.folder = home / "releases" / name

    def desired(self) -> Desired:
        """Return what is desired: nothing, when there never was a wish."""
        return self._read("desired.json", Desired) or Desired()

    def observed(self) -> Observed | None:
        """Return what was observed last."""
        return self._read("observed.json", Observed)

    def write(self, state: Desired | Observed) -> None:
        """Replace what is desired, or what was observed."""
        name = "desired.json" if isinstance(state, Desired) else "observed.json"
        self._replace(name, msgspec.json.format(msgspec.json.encode(state)))

    def listener(self, first: int, patience: float) -> socket.socket:
        """Return the listening socket of the stable address: on the remembered port, else the first free one.

        Waits ``patience`` seconds for a remembered port to become free, then raises Permanent.
        """
        own = self.folder / "port"
        if own.is_file():
            return _awaited(int(own.read_text()), own, patience)
        others = {int(path.read_text()) for path in self.folder.parent.glob("*/port")}
        for port in range(first, first + _PORTS):
            listener = None if port in others else _listening(port)
            if listener is not None:
                self._replace("port", str(port).encode())
                return listener
        raise Permanent(f"none of the {_PORTS} ports from {first} on is free; set ZETA_MODEL_PORT to where some are")

    def _read(self, name: str, form: type[_T]) -> _T | None:
        path = self.folder / name
        try:
            return msgspec.json.decode(path.read_bytes(), type=form)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise Permanent(f"{path}: {error}; remove it and roll the model out again") from error

    def _replace(self, name: str, content: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = self.folder / f".{name}.{os.getpid()}"
        with new.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.folder / name)


def _awaited(port: int, file: Path, patience: float) -> socket.socket:
    deadline = time.monotonic() + patience
    while (listener := _listening(port)) is None:
        if time.monotonic() > deadline:
            raise Permanent(f"port {port} is taken by another program; free it, or remove {file} to get another port")
        time.sleep(0.1)
    return listener


def _listening(port: int) -> socket.socket | None:
    try:
        return socket.create_server((HOST, port), backlog=_BACKLOG)
    except OSError:
        return None
