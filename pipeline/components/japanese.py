"""Japanese tokenisation by MeCab with the unidic-lite dictionary, the same on every machine."""

import functools
import hashlib
import importlib.metadata
import itertools
from pathlib import Path
from typing import Any

import MeCab
import unidic_lite

from pipeline.errors import DataError

# Without "-r /dev/null" and an explicit dictionary a machine's own mecabrc or a second dictionary wins silently.
ARGUMENTS = f'-r /dev/null -d "{unidic_lite.DICDIR}" -Owakati'
_DICTIONARY_FILES = ("sys.dic", "matrix.bin", "char.bin", "unk.dic", "dicrc")
PROBES = Path(__file__).with_name("japanese_probes.txt")


@functools.cache
def _tagger() -> Any:
    return MeCab.Tagger(ARGUMENTS)


def tokens(text: str) -> list[str]:
    """Split a text into its words, in order; DataError for one that is too long (hundreds of thousands of words)."""
    # To MeCab a text ends at NUL.
    words = _tagger().parse(text.replace("\0", " "))
    if words is None:
        raise DataError(f"a text of {len(text)} characters is too long for MeCab; shorten it in the query")
    return words.split()


def words_and_pairs(text: str) -> list[str]:
    """Return the words of a text and each pair of neighbours: an analyzer for scikit-learn's vectorizers."""
    words = tokens(text)
    return words + [f"{first} {second}" for first, second in itertools.pairwise(words)]


def fingerprint() -> dict[str, str]:
    """Return what decides a tokenisation (bytes) and what it does (behaviour on the frozen probe texts)."""
    behaviour = hashlib.sha256()
    for probe in PROBES.read_text(encoding="utf-8").splitlines():
        behaviour.update("\t".join(tokens(probe)).encode() + b"\n")
    return {
        "arguments": ARGUMENTS.replace(unidic_lite.DICDIR, "<unidic_lite>"),
        "tokenisation": behaviour.hexdigest(),
        **{package: importlib.metadata.version(package) for package in ("mecab-python3", "unidic-lite")},
        **{file: _sha256(Path(unidic_lite.DICDIR) / file) for file in _DICTIONARY_FILES},
    }


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
