import csv
import gzip
import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime

import pytest
from typer.testing import CliRunner

from pipeline import cli, config, inspection, scaffold
from pipeline.demo.extract import COLUMNS, TITLES
from pipeline.errors import ConfigError
from pipeline.listings import write
from pipeline.scaffold import Columns
from pipeline.settings import ROOT

AT = datetime(2026, 2, 25, 5, tzinfo=UTC)


def columns(label, texts=("title",), numbers=()):
    return Columns("item_id", "listed_at", label, texts, numbers)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('listings')}/shop.db"
    write(url, date(2026, 1, 1), date(2026, 2, 25), 40, 7)
    return url


@pytest.fixture
def models(tmp_path, monkeypatch, shop):
    monkeypatch.setenv("ZETA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ZETA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("ZETA_SOURCE_SHOP", shop)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("name", "task", "meant"),
    [
        ("channel", "classification", columns("channel")),
        ("risk", "classification", columns("violation", numbers=("price", "weight"))),
        ("tags", "multilabel", columns("tags", numbers=("price",))),
        ("price", "regression", columns("price")),
        ("price-by-weight", "regression", columns("price", (), ("weight", "violation"))),
        ("similar", "retrieval", columns("category")),
    ],
)
def test_a_scaffolded_model_passes_the_check_as_it_is(models, capsys, name, task, meant):
    files = scaffold.new(name, task, models, "shop", "listings", meant)
    folder = models / name
    assert files == [
        folder / "model.yaml",
        folder / "model.py",
        folder / f"{name}.sql",
        models / "model.schema.json",
    ]
    good = inspection.check([name], AT)
    report = capsys.readouterr().out
    assert good, report
    assert "stored and loaded again, it answers alike" in report
    assert "unseen rows, a first taste" in report


def test_a_scaffolded_model_passes_the_check_on_real_titles(models, capsys, monkeypatch, tmp_path):
    with (
        closing(sqlite3.connect(tmp_path / "anime.db")) as base,
        base,
        gzip.open(TITLES, "rt", encoding="utf-8") as file,
    ):
        base.execute(f"CREATE TABLE titles ({', '.join(COLUMNS)})")
        rows = csv.DictReader(file)
        base.executemany(f"INSERT INTO titles VALUES ({', '.join(f':{name}' for name in COLUMNS)})", rows)
    monkeypatch.setenv("ZETA_SOURCE_ANIME", f"sqlite:///{tmp_path}/anime.db")
    meant = Columns("item_id", "began", "type", ("title",))
    path = scaffold.new("kind", "classification", models, "anime", "titles", meant)[0]
    path.write_text(path.read_text().replace("window: 180d", "window: 1095d"))
    assert inspection.check([], datetime(2013, 2, 5, tzinfo=UTC))
    report = capsys.readouterr().out
    assert re.search(r"tv \d\d%", report)
    assert re.search(r"accuracy 0\.\d+ on [1-9]\d* unseen rows", report)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
@pytest.mark.parametrize(
    ("texts", "numbers"),
    [(["title"], []), (["title", "brand"], ["weight"]), ([], ["a_rather_long_name", "another_rather_long_name"])],
)
def test_scaffolded_code_is_as_the_linter_wants_it(tmp_path, task, texts, numbers):
    assert faults(scaffold.new("one", task, tmp_path, columns=Columns(texts=texts, numbers=numbers))[1]) == ""


def test_a_scaffolded_retrieval_is_as_the_linter_wants_it(tmp_path):
    assert faults(scaffold.new("one", "retrieval", tmp_path)[1]) == ""


def faults(code):
    """Return what the linter says of a file that it does not pass."""
    said = ""
    for command in (["format", "--check"], ["check", "--ignore", "TID253"]):
        ruff = [sys.executable, "-m", "ruff", *command, "--config", ROOT / "pyproject.toml", code]
        done = subprocess.run(ruff, capture_output=True, text=True)
        said += done.stdout + done.stderr if done.returncode else ""
    return said


def test_what_is_left_out_follows_from_the_name(tmp_path):
    scaffold.new("item-price", "regression", tmp_path)
    loaded = config.load(tmp_path / "item-price" / "model.yaml")
    assert (loaded.data.source, loaded.data.query) == ("item-price", "item-price.sql")
    assert (loaded.data.key, loaded.data.time, loaded.data.label) == ("item_id", "created_at", "label")
    assert loaded.data.features == ["title"]
    assert "FROM item_price\n" in (tmp_path / "item-price" / "item-price.sql").read_text()
    assert "ZETA_SOURCE_ITEM_PRICE" in (tmp_path / "item-price" / "model.yaml").read_text()


def test_names_that_yaml_takes_for_something_else_are_quoted(tmp_path):
    scaffold.new("on", "classification", tmp_path, "no", "t", Columns("null", "y", "yes", ("true",), ("off",)))
    data = config.load(tmp_path / "on" / "model.yaml").data
    assert (data.source, data.key, data.label, data.features) == ("no", "null", "yes", ["true", "off"])


@pytest.mark.parametrize(
    ("given", "sentences"),
    [
        ({"name": "Price"}, ["name 'Price': expected small letters"]),
        ({"name": "../out"}, ["name '../out': expected"]),
        ({"task": "ranking"}, ["task 'ranking': expected one of ['classification', "]),
        ({"source": "my shop"}, ["source 'my shop': expected letters"]),
        ({"table": "rows; drop"}, ["table 'rows; drop': expected the name of a table"]),
        ({"columns": Columns(label="la bel", time="1st")}, ["column '1st': expected", "column 'la bel': expected"]),
        ({"columns": Columns(texts=())}, ["features []: expected one column or more"]),
        ({"columns": Columns(numbers=["title"])}, ["features ['title', 'title']: expected"]),
        ({"columns": Columns(label="title")}, ["label 'title' is among the features"]),
        ({"task": "retrieval", "columns": Columns(numbers=["price"])}, ["compares one text column"]),
        (
            {"name": "A b", "task": "x", "source": "é", "table": "é"},
            ["name 'A b'", "task 'x'", "source 'é'", "table 'é'"],
        ),
    ],
)
def test_what_does_not_fit_is_refused_all_at_once_and_nothing_written(tmp_path, given, sentences):
    with pytest.raises(ConfigError) as refused:
        scaffold.new(**{"name": "one", "task": "classification", "models": tmp_path / "models"} | given)
    lines = str(refused.value).splitlines()
    assert len(lines) == len(sentences)
    for line, sentence in zip(lines, sentences, strict=True):
        assert sentence in line
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(ConfigError, match=r"one is there already; choose another name"):
        scaffold.new("one", "classification", tmp_path)
    assert list(tmp_path.rglob("*")) == [tmp_path / "one"]


def test_the_schema_that_editors_read_is_up_to_date():
    assert (ROOT / "models" / "model.schema.json").read_text() == scaffold.schema()
    assert CliRunner().invoke(cli.app, ["schema"]).stdout == scaffold.schema()


def test_a_scaffolded_config_names_the_schema_and_a_schema_that_is_there_is_kept(tmp_path):
    first = scaffold.new("one", "classification", tmp_path)[0]
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", first.read_text())
    schema = first.parent / named[1]
    assert schema.read_text() == scaffold.schema()
    schema.write_text("{}")
    assert len(scaffold.new("two", "retrieval", tmp_path)) == 3
    assert schema.read_text() == "{}"
