import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import unidic_lite

from pipeline import fingerprint
from pipeline.components import japanese
from pipeline.errors import DataError

TITLE = "新品の青い万年筆と消しゴム"
SHOW = f"""
import json
from pipeline import fingerprint
from pipeline.components import japanese
print(json.dumps([japanese.tokens({TITLE!r}), fingerprint.current(["japanese"])]))
"""


def elsewhere(*path, **environment):
    """Return the tokens and the fingerprint that a process finds with other packages first on its path."""
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    shown = subprocess.run(
        [sys.executable, "-c", SHOW], capture_output=True, text=True, check=True,
        env=known | {"PYTHONPATH": os.pathsep.join(map(str, path))} | environment,
    )  # fmt: skip
    return json.loads(shown.stdout)


def package(folder, name, dictionary):
    """Write a package whose dictionary is in a folder of its own."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(f"DICDIR = {str(dictionary)!r}\n")
    return folder


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        (TITLE, ["新品", "の", "青い", "万", "年", "筆", "と", "消し", "ゴム"]),
        ("ASUS ノートPC　15.6インチ", ["ASUS", "ノート", "PC", "15", ".", "6", "インチ"]),
        ("", []),
        (" 　\n\t", []),
        ("青い\n万年筆", ["青い", "万", "年", "筆"]),
        ("青い\0万年筆", ["青い", "万", "年", "筆"]),
        ("😀", ["😀"]),
    ],
)
def test_a_text_is_split_into_its_words(text, tokens):
    assert japanese.tokens(text) == tokens


def test_nothing_of_a_text_is_lost_but_white_space():
    for probe in japanese.PROBES.read_text(encoding="utf-8").splitlines():
        assert "".join(japanese.tokens(probe)) == "".join(probe.split())


def test_an_analyzer_sees_words_and_pairs_of_neighbours():
    assert japanese.words_and_pairs("青い万年筆") == ["青い", "万", "年", "筆", "青い 万", "万 年", "年 筆"]
    assert japanese.words_and_pairs("筆") == ["筆"]
    assert japanese.words_and_pairs("") == []


def test_a_text_that_is_too_long_is_bad_data():
    assert len(japanese.tokens("筆" * 100_000)) == 100_000
    with pytest.raises(DataError, match="a text of 1000000 characters is too long for MeCab"):
        japanese.tokens("青い万年筆" * 200_000)


def test_threads_do_not_mix_their_texts_up():
    texts = [f"{i}番の青い万年筆と消しゴム、" * (1 + i % 50) for i in range(500)]
    expected = [japanese.tokens(text) for text in texts]
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(japanese.tokens, texts)) == expected


def test_the_fingerprint_names_bytes_and_behaviour():
    parts = japanese.fingerprint()
    assert parts["arguments"] == '-r /dev/null -d "<unidic_lite>" -Owakati'
    assert {
        "tokenisation",
        "mecab-python3",
        "unidic-lite",
        "sys.dic",
        "matrix.bin",
        "char.bin",
        "unk.dic",
        "dicrc",
    } < set(parts)
    assert len(japanese.PROBES.read_text(encoding="utf-8").splitlines()) >= 500


def test_neither_a_second_dictionary_nor_the_machines_own_settings_are_used(tmp_path):
    (tmp_path / "mecabrc").write_text("dicdir = /nowhere\n")
    other = package(tmp_path / "site", "unidic", tmp_path / "no dictionary")
    assert elsewhere(other, MECABRC=str(tmp_path / "mecabrc")) == [
        japanese.tokens(TITLE),
        fingerprint.current(["japanese"]),
    ]


def test_the_dictionary_may_lie_in_a_folder_whose_name_has_spaces(tmp_path):
    spaced = tmp_path / "my site packages"
    spaced.mkdir()
    (spaced / "unidic_lite").symlink_to(Path(unidic_lite.__file__).parent)
    assert elsewhere(spaced) == [japanese.tokens(TITLE), fingerprint.current(["japanese"])]


def test_a_dictionary_with_another_file_is_told_by_its_name(tmp_path):
    changed = tmp_path / "changed"
    changed.mkdir()
    for file in Path(unidic_lite.DICDIR).iterdir():
        (changed / file.name).symlink_to(file)
    (changed / "dicrc").unlink()
    (changed / "dicrc").write_text((Path(unidic_lite.DICDIR) / "dicrc").read_text() + "\n; changed\n")
    _, now = elsewhere(package(tmp_path / "site", "unidic_lite", changed))
    [difference] = fingerprint.differences(fingerprint.current(["japanese"]), now)
    assert difference.startswith("japanese.dicrc is ")
