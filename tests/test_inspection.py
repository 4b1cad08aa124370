import json
import re
import socket
import sqlite3
from contextlib import closing
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from pipeline import inspection, scaffold
from pipeline.errors import ConfigError
from pipeline.listings import write
from pipeline.scaffold import Columns

AT = datetime(2026, 2, 25, 5, tzinfo=UTC)
NUMBERS = Columns(key="item_id", time="listed_at", label="channel", texts=(), numbers=("price", "weight"))
OWN_ESTIMATOR = """
import itertools
import numpy as np
from sklearn.base import BaseEstimator

class Own(BaseEstimator):
    def fit(self, X, y):
        return self

    def predict(self, X):
        {predict}

def build(params):
    return Own()
"""


@pytest.fixture(scope="module")
def listings(tmp_path_factory):
    file = tmp_path_factory.mktemp("listings") / "shop.db"
    write(f"sqlite:///{file}", date(2026, 1, 1), date(2026, 2, 25), 30, 7)
    return file


@pytest.fixture(autouse=True)
def models(tmp_path, monkeypatch, listings):
    for name, value in {
        "ZETA_HOME": tmp_path / "home",
        "ZETA_MODELS": tmp_path / "models",
        "ZETA_SOURCE_SHOP": f"sqlite:///{listings}",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{closed_port()}",
    }.items():
        monkeypatch.setenv(name, str(value))
    return tmp_path / "models"


def closed_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def make(models):
    def make(name="channel", *changes, columns=NUMBERS, file="model.yaml", task="classification"):
        """Scaffold a model, then replace texts in one of its files: pairs (old, new), each of which must be there."""
        scaffold.new(name, task, models, "shop", "listings", columns)
        path = models / name / file
        text = path.read_text().replace("minimum_rows: 500", "minimum_rows: 100")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        path.write_text(text)
        return path

    return make


@pytest.fixture
def check(capsys):
    def check(*names, at=AT):
        """Return whether all is good, and the report with each run of spaces as one."""
        good = inspection.check(list(names), at)
        return good, " ".join(capsys.readouterr().out.split())

    return check


def faults(report):
    return report.count("✗")


def test_a_good_model_passes_and_its_report_tells_what_was_tried(make, check, models, tmp_path):
    make()
    files = sorted(models.rglob("*"))
    good, report = check()
    assert good
    assert faults(report) == 0
    for part in (
        "channel ✓ config classification",
        "✓ code build(), score accuracy, baseline most_frequent",
        "! alerts none: nobody is paged",
        "rows in 2026-02-18..2026-02-24",
        "labelled: app 6",
        "listed_at time 2026-02-24 ",
        "price feature 0.0%",
        "✓ model fitted on ",
        "it answers alike; fingerprint",
        "✓ model accuracy 0.",
        "the baseline most_frequent has 0.",
        "labelled rows in 2025-08-01..2026-01-27 to train on",
        "in 2026-01-28..2026-02-24 for the gate",
        "without a champion it would train a first version",
        "channel: good",
    ):
        assert part in report
    assert [path for path in sorted(models.rglob("*")) if "__pycache__" not in str(path)] == files
    assert not (tmp_path / "home").exists()


def test_a_broken_model_does_not_keep_the_others_from_being_checked(make, check):
    make("aaa", ("def build", "import sys\nsys.exit('gone')\ndef build"), file="model.py")
    make("broken", ("accuracy", "acuracy"), ("owner: your-team", "owner: ''"), ("0 5 * * *", "0 5 * *"))
    make("sound")
    good, report = check()
    assert not good
    assert "aaa: 1 fault; broken: 3 faults; sound: good" in report
    assert "importing its code: SystemExit: gone" in report
    for key in ("schedule", "owner", "evaluation.score"):
        assert f" {key}: " in report
    assert "did you mean 'accuracy'?" in report
    assert "model.yaml:7: schedule" in report


def test_a_name_that_is_no_model_is_a_fault_and_no_model_at_all_an_error(make, check):
    with pytest.raises(ConfigError, match=r"no model in .*models; make one with `zeta new"):
        check()
    make("sound")
    good, report = check("sound", "nobody")
    assert not good
    assert "no model 'nobody'" in report
    assert "sound: good; nobody: 1 fault" in report


@pytest.mark.parametrize(
    ("changes", "file", "sentences"),
    [
        ([("def build", "1 / 0\ndef build")], "model.py", ["model.py: does not import: ZeroDivisionError"]),
        ([("def build", "def built")], "model.py", ["no build(); expected build(params)"]),
        ([("*params", "*params, missing=1")], "model.py", ["build() and fit() failed: TypeError"]),
        ([("return make", "raise RuntimeError(params)\n    return make")], "model.py", ["failed: RuntimeError: {}"]),
        (
            [
                ("score: accuracy", "score: model.mine"),
                ("baseline: most_frequent", "baseline: model.rule"),
                ("components: []", "components: [klingon]"),
            ],
            "model.yaml",
            ["'model.mine' is not there", "'model.rule' is not there", "'klingon'"],
        ),
    ],
)
def test_each_fault_of_the_code_is_one_sentence(make, check, changes, file, sentences):
    make("channel", *changes, file=file)
    good, report = check()
    assert not good
    assert faults(report) == len(sentences)
    for sentence in sentences:
        assert sentence in report


def test_settings_that_are_not_there_or_do_not_fit_are_faults(make, check, monkeypatch):
    make("channel", ("alerts: []", "alerts: [oncall, chat, desk]"))
    monkeypatch.delenv("ZETA_ALERT_ONCALL", raising=False)
    monkeypatch.delenv("ZETA_SOURCE_SHOP")
    monkeypatch.setenv("ZETA_ALERT_CHAT", "nonsense")
    monkeypatch.setenv("ZETA_ALERT_DESK", "json://127.0.0.1/page")
    good, report = check()
    assert not good
    assert faults(report) == 3
    assert "ZETA_ALERT_ONCALL is not set" in report
    assert "the address of 'chat' is none that Apprise knows" in report
    assert "ZETA_SOURCE_SHOP is not set; expected an SQLAlchemy URL" in report


def test_a_database_that_is_not_there_is_a_fault(make, check, monkeypatch, tmp_path):
    make()
    monkeypatch.setenv("ZETA_SOURCE_SHOP", f"sqlite:///{tmp_path}/none.db")
    assert "✗ source" in check()[1]
    monkeypatch.setenv("ZETA_SOURCE_SHOP", f"postgresql+psycopg://127.0.0.1:{closed_port()}/shop?connect_timeout=5")
    good, report = check()
    assert not good
    assert faults(report) == 1
    assert "refused" in report


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ([("FROM listings", "FROM listing")], "no such table: listing"),
        ([(", price", "")], "must give each of ['price'] once"),
        ([("listed_at >= :start AND ", "")], "it must bind :start and :end"),
        ([("listed_at >= :start AND listed_at < :end", ":start < :end")], "outside 2026-02-18..2026-02-24"),
        ([("listed_at, price", "title AS listed_at, price")], "listed_at is not a time"),
        ([("WHERE", "WHERE 1 = 0 AND")], "gives no row before 2026-02-25; fill its table"),
        ([("channel\n", "NULL AS channel\n")], "no row of 2026-02-18..2026-02-24 has a label"),
        ([("channel\n", "'web' AS channel\n")], "build() and fit() failed: ValueError"),
    ],
)
def test_each_fault_of_the_query_is_one_sentence(make, check, changes, sentence):
    make("channel", *changes, file="channel.sql")
    good, report = check()
    assert not good
    assert faults(report) == 1
    assert sentence in report


@pytest.mark.parametrize(
    ("predict", "trusted", "sentence"),
    [
        ("return np.full(len(X), 'web', dtype=object)", "[]", "the model holds ['models.own.model.Own']"),
        ("return np.array(['web'], dtype=object)", "[models.own.model.Own]", "20 rows get answers of the shape (1,)"),
        (
            "return np.array([str(np.random.rand()) for _ in X.index], dtype=object)",
            "[models.own.model.Own]",
            "loaded again it answers otherwise: golden row 0",
        ),
        ("return X['nothing']", "[models.own.model.Own]", "asking the fitted model, or scoring"),
    ],
)  # fmt: skip
def test_a_model_that_cannot_be_stored_or_relied_on_is_a_fault(make, check, predict, trusted, sentence):
    path = make("own", ("  params: {}", f"  params: {{}}\n  trusted: {trusted}"))
    path.with_name("model.py").write_text(OWN_ESTIMATOR.format(predict=predict))
    good, report = check()
    assert not good
    assert faults(report) == 1
    assert sentence in report


def test_scores_and_baselines_of_the_models_own_are_tried(make, check):
    path = make("own", ("score: accuracy", "score: model.half"), ("baseline: most_frequent", "baseline: model.rule"))
    code = path.with_name("model.py")
    code.write_text(
        code.read_text()
        + "\n\nfrom pipeline import scores\n\nhalf = scores.mean_of(lambda y, p: 0.5 * (y == p), 'higher')\n\n\n"
        "def rule(frame):\n    return ['app'] * len(frame)\n"
    )
    good, report = check()
    assert good
    assert "model.half 0.3" in report
    assert "the baseline model.rule has 0.3" in report


def test_without_rows_in_the_window_the_newest_are_found_and_tried(make, check):
    make()
    good, report = check(at=datetime(2031, 1, 1, tzinfo=UTC))
    assert good
    assert "no row in the evaluation window 2030-12-25..2030-12-31; the newest is of 2026-02-24" in report
    assert "rows in 2026-02-18..2026-02-24" in report
    assert "unseen rows, a first taste" in report
    assert "0 labelled rows in 2030-06-07..2030-12-03 to train on" in report
    assert "training would fail" in report


def test_rows_that_are_too_few_to_decide_on_are_noted(make, check):
    make("channel", ("minimum_rows: 100", "minimum_rows: 400"))
    good, report = check()
    assert good
    assert "where evaluation.minimum_rows is 400: no morning would decide anything" in report
    assert "! power gate.window 28d holds 2 of the 3 points of 400 rows (evaluation.minimum_rows)" in report
    assert "lengthen gate.window to 42d" in report


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("smallest_drop: 0.02", "smallest_drop: 0.3"), "✓ power half of all drops of 0.3 are found within 4 days ✓"),
        (
            ("smallest_drop: 0.02", "smallest_drop: 0.05"),
            r"! power (half|most) [a-z ]* drops of 0.05 [^:✓]*: raise degradation.smallest_drop to 0.\d+ \(then \d+d\)",
        ),
        (
            ("window: 28d", "window: 4d"),
            r"! power gate.window 4d holds 1 of the 3 points of 100 rows [^✓]* lengthen gate.window to 12d",
        ),
    ],
)
def test_what_the_config_promises_is_told_and_what_to_change_when_it_is_too_little(make, check, change, told):
    make("channel", change)
    good, report = check()
    assert good
    assert re.search(told, report)


def test_a_drop_in_the_wrong_units_is_noted(make, check):
    columns = Columns(key="item_id", time="listed_at", label="price", texts=(), numbers=("weight",))
    make("price", task="regression", columns=columns)
    good, report = check()
    assert good
    assert "labelled: median " in report
    assert "degradation.smallest_drop 1 is in units of mae: is that what is meant?" in report


def test_rows_and_database_stay_as_they_are(make, check, listings):
    make()
    before = listings.read_bytes()
    check()
    assert listings.read_bytes() == before
    assert list(listings.parent.iterdir()) == [listings]


class FakeMlflow(BaseHTTPRequestHandler):
    """Answers what MLflow does for one model whose champion is version 3; 'lost' is no model."""

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == "/health":
            return self.answer(200, "OK")
        if "name=lost" in query:
            return self.answer(404, {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such model"})
        if path.endswith("/registered-models/get"):
            return self.answer(200, {"registered_model": {"aliases": [{"alias": "champion", "version": "3"}]}})
        version = {"name": "channel", "version": "3", "run_id": "r", "source": "s"}
        return self.answer(200, {"model_version": version})

    def answer(self, status, body):
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode() if isinstance(body, str) else json.dumps(body).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def registry(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeMlflow)
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("registry")
def test_a_registry_that_answers_names_the_champion(make, check):
    make("channel")
    make("lost")
    good, report = check()
    assert good
    assert "version 3 is champion: it would be scored, and retrained only if it has degraded" in report
    assert "no champion yet: it would train a first version" in report


def test_young_data_with_nothing_in_the_training_window_is_tried_all_the_same(make, check, tmp_path, monkeypatch):
    file = tmp_path / "few.db"
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("CREATE TABLE listings (item_id, listed_at, price, tags)")
        rows = [(i, f"2026-02-{1 + i % 24:02d} 08:00:00", i, ["a|b", "b", None][i % 3]) for i in range(900)]
        base.executemany("INSERT INTO listings VALUES (?, ?, ?, ?)", rows)
    monkeypatch.setenv("ZETA_SOURCE_SHOP", f"sqlite:///{file}")
    columns = Columns(key="item_id", time="listed_at", label="tags", texts=(), numbers=("price",))
    make("tags", task="multilabel", columns=columns)
    good, report = check()
    assert good
    assert "labelled: b 100%, a 50%" in report
    assert "tags label 42.9%" in report
    assert "micro_f1 cannot be told from 0 unseen rows" in report
    assert "0 labelled rows in 2025-08-01..2026-01-27 to train on" in report
