"""Asks servers for a model's golden rows: ``python -m pipeline.serving.golden --model DIR URL...``.

It is what ``helm test`` runs, in the image whose answers it expects.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import httpx
import msgspec

from pipeline.errors import Permanent
from pipeline.manifest import Golden, Manifest

_SECONDS = 30
# A Service may refuse connections for a moment after its first pod is ready.
_CONNECTS = 3


class _Answer(msgspec.Struct):
    predictions: list[Any]


def faults(golden: Golden, address: str) -> list[str]:
    """Return a sentence for each golden row that the server at ``address`` answers otherwise than at training.

    One sentence when it does not answer, refuses, or answers what is no prediction.
    """
    transport = httpx.HTTPTransport(retries=_CONNECTS)
    with httpx.Client(transport=transport, timeout=_SECONDS, trust_env=False) as client:
        try:
            body = msgspec.json.encode({"dataframe_records": golden.rows})
            reply = client.post(f"{address}/invocations", content=body).raise_for_status()
            return golden.differences(msgspec.json.decode(reply.content, type=_Answer).predictions)
        except httpx.HTTPStatusError as error:
            return [f"it answers {error.response.status_code}: {error.response.text}"]
        except httpx.HTTPError as error:
            return [f"it does not answer: {error}"]
        except msgspec.MsgspecError as error:
            return [f"it answers what is no prediction: {error}"]


def main() -> int:
    """Read the command line and ask; print what each server did, return 0 when all of them answered as recorded."""
    parser = argparse.ArgumentParser(prog="pipeline.serving.golden", description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the model directory")
    parser.add_argument("urls", nargs="+", metavar="URL", help="a server's address, such as http://category-canary")
    given = parser.parse_args()
    try:
        golden = Manifest.read(given.model).golden
    except Permanent as error:
        print(error, file=sys.stderr)
        return error.exit_code
    found = {url: faults(golden, url) for url in given.urls}
    for url, sentences in found.items():
        for sentence in sentences or [f"{len(golden.rows)} golden rows answered as at training"]:
            print(f"{url}: {sentence}")
    return 1 if any(found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
