from datetime import timedelta

import pytest
import yaml

from pipeline import config
from pipeline.errors import ConfigError
from tests.parts import VALUES, model

MODELS = config.Path(config.__file__).parents[1] / "models"


def faults(folder, text):
    """Load a model.yaml beside which the files are that VALUES names; return the lines of the error."""
    model(folder)
    (folder / "toy" / "model.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(folder / "toy" / "model.yaml")
    return [line.removeprefix(f"{folder / 'toy' / 'model.yaml'}:") for line in str(caught.value).splitlines()]


def test_every_fault_is_said_at_once_with_its_line_key_value_and_expected_form(tmp_path):
    text = """\
name: Toy
ownr: tests
task: clasification
schedule: every day
timezone: Asia/Tokio
code: mdel.py
data:
  source: rows
  query: nowhere.sql
  key: item id
  time: at
  label: category
  features: [title, category]
  matures_after: 2 days
  checks: {nuls: 0.1, volume: 1.5}
evaluation: {score: acuracy, minimum_rows: many}
degradation: {smallest_drop: 0}
training: {seeds: 0, window: 7, seeds: 1}
gate: {baseline: most_frequent, confidence: 1}
"""
    assert faults(tmp_path, text) == [
        "1: name: 'Toy' is not the folder's name; expected 'toy'",
        "1: name: 'Toy': String should match pattern '^[a-z][a-z0-9]*(-[a-z0-9]+)*$'",
        "1: owner: missing; expected Who is paged",
        "2: ownr: unknown key; did you mean 'owner'?",
        "3: task: 'clasification': Input should be 'classification', 'multilabel', 'regression' or 'retrieval'; "
        "did you mean 'classification'?",
        "4: schedule: 'every day': expected five cron fields, such as \"0 5 * * *\" for every day at five",
        "5: timezone: 'Asia/Tokio': expected an IANA zone such as 'Asia/Tokyo'; did you mean 'Asia/Tokyo'?",
        "6: code: no file 'mdel.py' beside model.yaml; write it or name the one that is there",
        "9: data.query: no file 'nowhere.sql' beside model.yaml; write it or name the one that is there",
        "10: data.key: 'item id': String should match pattern '^[A-Za-z_][A-Za-z0-9_]*$'",
        "13: data.features: 'category' is the label: a model that sees the truth learns nothing; take it out",
        "14: data.matures_after: '2 days': expected a whole number and a unit, at most 100 years: "
        "90s, 30m, 12h, 7d or 4w",
        "15: data.checks.volume: 1.5: Input should be less than or equal to 1",
        "15: data.checks.nuls: unknown key; did you mean 'nulls'?",
        "16: evaluation.score: 'acuracy' does not fit task 'clasification'; expected one of ['accuracy', "
        "'average_precision', 'macro_f1', 'mae', 'mape', 'micro_f1', 'r2', 'recall_at_k', 'rmse', 'top_5_accuracy'] "
        "or model.<name>; did you mean 'accuracy'?",
        "16: evaluation.minimum_rows: 'many': Input should be a valid integer",
        "17: degradation.smallest_drop: 0: Input should be greater than 0",
        "18: training.seeds: stands twice (first on line 18); keep one",
        "18: training.window: 7: expected a whole number and a unit, at most 100 years: 90s, 30m, 12h, 7d or 4w",
        "19: gate.confidence: 1: Input should be less than 1",
    ]


def test_a_missing_section_is_said_with_the_keys_that_it_has(tmp_path):
    found = faults(tmp_path, "name: toy\nowner: tests\n")
    assert [line.split(";")[0] for line in found] == [
        f"1: {key}: missing" for key in ("task", "schedule", "data", "evaluation", "gate")
    ]
    assert "expected classification, multilabel, regression or retrieval" in found[0]
    assert "'matures_after'" in found[2]


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("training", {"seeds": True}),
        ("training", {"seeds": "3"}),
        ("training", {"seeds": 2.5}),
        ("training", {"window": "99999999999999d"}),
        ("training", {"window": "-3d"}),
        ("training", {"params": [1]}),
        ("evaluation", {"slices": "channel"}),
        ("evaluation", {"minimum_rows": 0}),
        ("degradation", {"smallest_drop": float("nan")}),
        ("degradation", {"smallest_drop": float("inf")}),
        ("degradation", {"false_alarms_per_year": 0}),
        ("gate", {"baseline_margin": float("nan")}),
        ("gate", {"slice_margin": -0.1}),
        ("data", {"features": []}),
        ("data", {"source": ""}),
        ("owner", ""),
        ("timezone", ""),
        ("alerts", ["on call"]),
        ("schedule", "0 5 * * * *"),
        ("schedule", "61 5 * * *"),
        ("code", ""),
        ("code", "../outside.py"),
        ("evaluation", 5),
        ("gate", None),
        ("data", ["title"]),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_key(tmp_path, section, value):
    (tmp_path / "outside.py").write_text("")
    place = f"{section}.{next(iter(value))}" if isinstance(value, dict) else section
    with pytest.raises(ConfigError, match=rf"model\.yaml:\d+: {place}"):
        model(tmp_path, **{section: value})


@pytest.mark.parametrize(
    ("task", "score", "fits"),
    [
        ("classification", "average_precision", True),
        ("multilabel", "micro_f1", True),
        ("multilabel", "accuracy", False),
        ("regression", "r2", True),
        ("regression", "micro_f1", False),
        ("retrieval", "recall_at_k", True),
        ("retrieval", "model.my_score", True),
        ("retrieval", "model.my score", False),
    ],
)
def test_a_score_fits_its_task_or_is_the_models_own(tmp_path, task, score, fits):
    baseline = "median" if task == "regression" else "most_frequent"
    changes = {"task": task, "evaluation": {"score": score}, "gate": {"baseline": baseline}}
    if fits:
        assert model(tmp_path, **changes).evaluation.score == score
    else:
        with pytest.raises(ConfigError, match=rf"evaluation.score: '{score}' does not fit task '{task}'"):
            model(tmp_path, **changes)


def test_durations_are_read_in_every_unit(tmp_path):
    units = {"90s": timedelta(seconds=90), "30m": timedelta(minutes=30), "12h": timedelta(hours=12),
             "7d": timedelta(days=7), "4w": timedelta(weeks=4), "0d": timedelta(0)}  # fmt: skip
    assert {text: model(tmp_path, training={"cooldown": text}).training.cooldown for text in units} == units


def test_what_is_left_out_has_its_default(tmp_path):
    found = model(tmp_path)
    assert found.timezone == "UTC"
    assert found.degradation.smallest_drop == 0.02
    assert found.data.checks.volume == 0.3
    assert found.folder == tmp_path / "toy"


@pytest.mark.parametrize("path", config.paths(MODELS), ids=lambda path: path.parent.name)
def test_the_models_of_this_repository_load(path):
    assert config.load(path).name == path.parent.name


def test_defaults_in_the_schema_are_written_as_in_model_yaml(tmp_path):
    for name, section in config.schema()["$defs"].items():
        defaults = {key: one["default"] for key, one in section["properties"].items() if "default" in one}
        base = {"Data": "data", "Evaluation": "evaluation", "GateRules": "gate", "Training": "training",
                "Degradation": "degradation"}.get(name)  # fmt: skip
        assert defaults or name == "Data"
        if base:
            assert model(tmp_path, **{base: defaults})


def test_the_schema_accepts_the_models_of_this_repository_and_refuses_an_unknown_key():
    validator = pytest.importorskip("jsonschema").Draft202012Validator(config.schema())
    for path in config.paths(MODELS):
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert [error.message for error in validator.iter_errors(values)] == []
        assert [error.message for error in validator.iter_errors({**values, "ownr": "x"})]


def test_the_schema_names_each_key_and_refuses_others():
    schema = config.schema()
    assert set(VALUES) <= set(schema["properties"])
    assert all(section["additionalProperties"] is False for section in [schema, *schema["$defs"].values()])
