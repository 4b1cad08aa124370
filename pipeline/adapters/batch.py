"""Predictions of an image's model on whole frames, by a process that runs the image's own code."""

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Self

import msgspec
import numpy as np

from pipeline.adapters.bundle import Bundle
from pipeline.adapters.processes import last_lines
from pipeline.errors import Permanent
from pipeline.serving.batch import Answer, Output, Request, receive, send

if TYPE_CHECKING:
    from pandas import DataFrame


class Batch:
    """A model in a process of its own, from entering the context until leaving it."""

    def __init__(self, command: Sequence[str], cwd: Path, env: Mapping[str, str]) -> None:
        self._command = list(command)
        self._cwd = cwd
        self._env = dict(env)

    @classmethod
    def of(cls, model: Path, app: Path) -> Self:
        """Return the model of a model directory; ``app`` holds pipeline/ and models/NAME/ that run it."""
        bundle = Bundle(model, app)
        return cls(bundle.command("pipeline.serving.batch"), app, bundle.environment())

    def __enter__(self) -> Self:
        # A file, not a pipe: nobody reads it while a frame is being answered.
        self._log = tempfile.NamedTemporaryFile(prefix="zeta-batch-")
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._cwd,
                env=self._env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
            )
        except OSError as error:
            self._log.close()
            raise Permanent(f"{self._command[0]} does not start in {self._cwd}: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        requests, answers = self._pipes()
        with suppress(BrokenPipeError):
            requests.close()
        answers.close()
        if error is not None:
            self._process.kill()
        self._process.wait()
        self._log.close()

    def predict(self, frame: "DataFrame", output: Output = "labels", k: int = 1) -> np.ndarray:
        """Return (n,) labels, (n, k) labels of a ranking, best first, or (n,) scores or confidences.

        Texts come as an object array. Raises Permanent when the model cannot answer: its fingerprint differs,
        it fails, its process dies; then the process is of no more use.
        """
        columns = {str(name): values.tolist() for name, values in frame.astype(object).items()}
        requests, answers = self._pipes()
        # A process that refuses all work is gone before the request is written, but not without a word.
        with suppress(BrokenPipeError):
            send(requests, Request(output, columns, k))
        body = receive(answers)
        if body is None:
            status = self._process.wait()
            lines = last_lines(Path(self._log.name))
            raise Permanent(f"{' '.join(self._command)} ended with status {status}; its last lines:\n{lines}")
        answer = msgspec.msgpack.decode(body, type=Answer)
        if answer.error:
            raise Permanent(answer.error)
        numbers = bool(answer.predictions) and isinstance(answer.predictions[0], float)
        return np.array(answer.predictions, dtype=float if numbers else object)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise Permanent("the batch process has no pipes; enter the context first")
        return self._process.stdin, self._process.stdout
