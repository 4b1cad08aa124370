"""Predicts whole frames over stdin and stdout: ``python -m pipeline.serving.batch --model DIR``.

A message is 4 bytes of length, big endian, and as many bytes of MessagePack. A Request comes in, an Answer
goes out; an answer with an error is the last one.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import IO, Any, Literal

import msgspec

from pipeline.errors import Permanent, ZetaError
from pipeline.serving import served

Output = Literal["labels", "ranking", "scores", "confidence"]


class Request(msgspec.Struct):
    """Columns of equal length; ``k`` is how long a ranking is."""

    output: Output
    columns: dict[str, list[Any]]
    k: int = 1


class Answer(msgspec.Struct, omit_defaults=True):
    """(n,) labels, scores or confidences, (n, k) labels of a ranking, or why there are none."""

    predictions: list[Any] = []
    error: str = ""


def send(stream: IO[bytes], message: Request | Answer) -> None:
    """Write one message."""
    body = msgspec.msgpack.encode(message)
    stream.write(len(body).to_bytes(4, "big"))
    stream.write(body)
    stream.flush()


def receive(stream: IO[bytes]) -> bytes | None:
    """Read one message's bytes; None at the end of the stream, also when it ends within a message."""
    head = stream.read(4)
    if len(head) < 4:
        return None
    length = int.from_bytes(head, "big")
    body = stream.read(length)
    return body if len(body) == length else None


def run(model: Path, app_root: Path, requests: IO[bytes], answers: IO[bytes]) -> int:
    """Answer requests until the stream ends or one fails; return the exit code."""
    try:
        loaded = served.load(model, app_root)
        if loaded.model is None or loaded.faults:
            raise Permanent(loaded.fault)
        while (body := receive(requests)) is not None:
            request = msgspec.msgpack.decode(body, type=Request)
            rows = served.frame(request.columns, loaded.manifest.features)
            send(answers, Answer(loaded.model.answer(rows, request.output, request.k).tolist()))
    except ZetaError as error:
        send(answers, Answer(error=str(error)))
        return error.exit_code
    except Exception as error:
        send(answers, Answer(error=f"the model fails: {type(error).__name__}: {error}"))
        raise
    return 0


def main() -> int:
    """Read the command line, keep stdout for answers alone, and predict."""
    parser = argparse.ArgumentParser(prog="pipeline.serving.batch", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model directory")
    parser.add_argument("--app-root", type=Path, default=Path(), help="holds models/<name>/; default: here")
    given = parser.parse_args()
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return run(given.model, given.app_root, sys.stdin.buffer, answers)


if __name__ == "__main__":
    sys.exit(main())
