import pytest

from pipeline.document import Document
from pipeline.errors import ConfigError


def document(folder, text):
    path = folder / "model.yaml"
    path.write_text(text, encoding="utf-8")
    return Document(path)


def test_every_value_has_the_line_of_its_key(tmp_path):
    found = document(tmp_path, "a: 1\n# a comment\nb:\n  c: [x,\n    y]\n  d: {e: true}\n")
    assert found.values == {"a": 1, "b": {"c": ["x", "y"], "d": {"e": True}}}
    assert [found.line(place) for place in (("a",), ("b",), ("b", "c"), ("b", "c", 1), ("b", "d", "e"))] == [
        1,
        3,
        4,
        5,
        6,
    ]


def test_a_place_that_is_not_there_has_the_line_of_what_is_around_it(tmp_path):
    found = document(tmp_path, "a: 1\nb:\n  c: 2\n")
    assert [found.line(place) for place in (("b", "d"), ("b", "c", 0, "x"), ("z",))] == [2, 3, 1]


def test_an_alias_is_the_value_that_it_names(tmp_path):
    assert document(tmp_path, "a: &window 7d\nb: {c: *window}\n").values == {"a": "7d", "b": {"c": "7d"}}


@pytest.mark.parametrize(
    ("text", "place", "line", "words"),
    [
        ("a: 1\nb: 2\na: 3\n", ("a",), 3, "stands twice (first on line 1)"),
        ("b:\n  c: 1\n  c: 2\n", ("b", "c"), 3, "stands twice (first on line 2)"),
        ("a: 1\nb: !python/name:os.system x\n", ("b",), 2, "could not determine a constructor"),
        ("a: 2026-13-45\n", ("a",), 1, "month must be in 1..12"),
        ("a: [1, !!int many]\n", ("a", 1), 1, "'many': invalid literal"),
    ],
)
def test_what_is_wrong_with_one_value_is_a_fault_and_the_rest_is_read(tmp_path, text, place, line, words):
    found = document(tmp_path, text + "z: read\n")
    [(where, said)] = found.faults
    assert where == place
    assert words in said
    assert found.line(where) == line
    assert found.values["z"] == "read"


def test_the_keys_below_a_repeated_section_are_not_repeated_themselves(tmp_path):
    found = document(tmp_path, "a:\n  b: 1\na:\n  b: 2\n")
    assert [where for where, _ in found.faults] == [("a",)]
    assert found.values == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ":1: the file holds no keys"),
        ("# nothing yet\n", ":1: the file holds no keys"),
        ("- a\n- b\n", ":1: the file holds no keys"),
        ("just words\n", ":1: the file holds no keys"),
        ("a: 1\nb: [1, 2\nc: 3\n", ":3: not YAML"),
        ("a: 1\n\tb: 2\n", ":2: not YAML"),
        ("a: 1\n---\nb: 2\n", ":2: not YAML"),
        ("a: *nowhere\n", ":1: not YAML"),
        ("a: \x00\n", ": not YAML"),
        ("a: &itself [*itself]\n", ": nests too deep"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused_with_its_line(tmp_path, text, words):
    with pytest.raises(ConfigError, match=r"model\.yaml") as caught:
        document(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'model.yaml'}{words}")


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes("a: caf\u00e9".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read \(No such file"):
        Document(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match=r"latin\.yaml: not YAML: 'utf-8' codec"):
        Document(tmp_path / "latin.yaml")
