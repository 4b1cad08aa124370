"""What a server answers: predictions, and one clear sentence for whatever does not fit."""

import json
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from pipeline import artifact, data

TEXTS = ["青い万年筆と消しゴム", "中古の電子レンジ", "夏目漱石の本", ""]
WEIGHTS = [3.5, 7, None, 120.25]
RECORDS = [{"title": title, "weight": weight} for title, weight in zip(TEXTS, WEIGHTS, strict=True)]
MANY = {"inputs": {"title": [""] * 10_001, "weight": [1] * 10_001}}


def model(images, name):
    return artifact.load(images[name] / "model")


def expected(images, name, columns):
    import pandas as pd

    loaded = model(images, name)
    return loaded.predict(data.inputs(pd.DataFrame(columns), loaded.manifest.features)).tolist()


@pytest.mark.parametrize(
    "form",
    [
        {"dataframe_split": {"columns": ["weight", "title"], "data": list(zip(WEIGHTS, TEXTS, strict=True))}},
        {"dataframe_records": RECORDS},
        {"instances": RECORDS},
        {"instances": {"title": TEXTS, "weight": WEIGHTS}},
        {"inputs": {"title": TEXTS, "weight": WEIGHTS}},
    ],
    ids=lambda form: next(iter(form)),
)
def test_every_form_of_mlflow_is_answered_as_the_model_predicts(prices, images, form):
    reply = prices.http.post("/invocations", json=form)
    assert reply.status_code == 200
    assert reply.json() == {"predictions": expected(images, "prices", {"title": TEXTS, "weight": WEIGHTS})}


@pytest.mark.parametrize("shape", [[4], [4, 1]])
def test_the_open_inference_protocol_is_answered_as_the_model_predicts(prices, images, shape):
    tensors = [
        {"name": "weight", "shape": shape, "datatype": "FP32", "data": WEIGHTS},
        {"name": "title", "shape": shape, "datatype": "BYTES", "data": TEXTS},
    ]
    reply = prices.http.post("/v2/models/prices/infer", json={"id": "42", "inputs": tensors})
    answers = expected(images, "prices", {"title": TEXTS, "weight": WEIGHTS})
    output = {"name": "predictions", "datatype": "FP64", "shape": [4], "data": answers}
    assert reply.json() == {"model_name": "prices", "model_version": "7", "id": "42", "outputs": [output]}


def test_k_asks_for_a_ranking(titles, images):
    import pandas as pd

    ranking = model(images, "titles").rank(pd.DataFrame({"title": TEXTS}), 2).tolist()
    body = {"inputs": {"title": TEXTS}, "params": {"k": 2}}
    assert titles.http.post("/invocations", json=body).json() == {"predictions": ranking}
    tensor = {"name": "title", "shape": [4], "datatype": "BYTES", "data": TEXTS}
    body = {"inputs": [tensor], "parameters": {"k": 2}}
    output = titles.http.post("/v2/models/titles/infer", json=body).json()["outputs"][0]
    assert output["shape"] == [4, 2]
    assert output["data"] == [label for labels in ranking for label in labels]


def test_label_sets_are_answered_as_lists_and_counted_by_label(serve, images):
    columns = {"title": ["新品のドライヤー", "漫画全巻セット"]}
    with serve("tags") as server:
        reply = server.http.post("/invocations", json={"inputs": columns})
        assert reply.json() == {"predictions": [["家電", "新品"], ["本"]]}
        assert ["|".join(labels) for labels in reply.json()["predictions"]] == expected(images, "tags", columns)
        assert server.metric('zeta_predictions_total{label="新品"}') == 1
        refused = server.http.post("/invocations", json={"inputs": columns, "params": {"k": 2}})
    assert refused.status_code == 400
    assert "multilabel has no ranking" in refused.json()["error"]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"title=x", "the body is not JSON: "),
        (b"", "the body is not JSON: "),
        (b'{"inputs": {"title": ["x"], "weight": [NaN]}}', "the body is not JSON: "),
        (b'{"inputs": {"title": ["\xff"], "weight": [1]}}', "the body is not JSON: "),
        (b'{"id": ' + b"[" * 100_000, "the body is not JSON: "),
        (b'{"inputs": {"title": ["x"], "weight": [1e999]}}', "the body does not fit: Number out of range"),
        (b"[1, 2]", "the body does not fit: Expected `object`, got `array`"),
        (b'{"instances": "x"}', "the body does not fit: Expected `object | array | null`, got `str`"),
        (b"{}", "the body has 0 of the keys dataframe_split, dataframe_records, instances, inputs"),
        (b'{"inputs": {"title": ["x"]}, "instances": []}', "the body has 2 of the keys"),
        (b'{"instances": []}', "there are no rows"),
        (b'{"inputs": {"title": [], "weight": []}}', "there are no rows"),
        (b'{"instances": [{"title": "x", "weight": 1}, {"title": "x"}]}', "row 1 lacks column 'weight'; expected"),
        (b'{"inputs": {"title": ["x"]}}', "the request lacks column 'weight'; expected the columns"),
        (b'{"inputs": {"title": ["x"], "weihgt": [1]}}', "lacks column 'weight' and has unknown column 'weihgt'"),
        (b'{"inputs": {"title": ["x"], "weight": [1], "y": [2]}}', "has unknown column 'y'"),
        (b'{"inputs": {"title": ["x"], "weight": [1, 2]}}', "the columns differ in length"),
        (b'{"dataframe_split": {"columns": ["title", "weight"], "data": [["x", 1], ["x"]]}}', "row 1 has 1 values"),
        (b'{"dataframe_split": {"columns": ["title", "title"], "data": [["x", "x"]]}}', "a name stands twice"),
        (b'{"inputs": {"title": ["x", 5], "weight": [1, 2]}}', "row 1, column 'title': expected a text, got 5"),
        (b'{"inputs": {"title": ["x"], "weight": ["1"]}}', "row 0, column 'weight': expected a number, got \"1\""),
        (b'{"inputs": {"title": ["x"], "weight": [true]}}', "row 0, column 'weight': expected a number, got true"),
        (b'{"inputs": {"title": ["x"], "weight": [1' + b"0" * 400 + b"]}}", "column 'weight': a number is beyond"),
        (b'{"inputs": {"title": ["' + b"x" * 100_001 + b'"], "weight": [1]}}', "row 0, column 'title': 100001 char"),
        (json.dumps(MANY), "there are 10001 rows; expected at most 10000"),
        (b'{"inputs": {"title": ["x"], "weight": [1]}, "params": {"k": 0}}', "does not fit: Expected `int` >= 1"),
        (b'{"inputs": {"title": ["x"], "weight": [1]}, "params": {"k": 2}}', "k: the task regression has no ranking"),
        (b'{"inputs": {"title": ["x"], "weight": [1]}, "params": {"q": 2}}', "Object contains unknown field `q`"),
    ],
)  # fmt: skip
def test_a_body_that_does_not_fit_is_refused_with_one_sentence(prices, body, sentence):
    reply = prices.http.post("/invocations", content=body)
    assert reply.status_code == 400
    assert list(reply.json()) == ["error"]
    assert sentence in reply.json()["error"]
    assert "\n" not in reply.json()["error"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"shape": [2]}, "input 'title' has shape [2] and 1 values; expected shape [1]"),
        ({"shape": [1, 1, 1]}, "input 'title' has shape [1, 1, 1] and 1 values"),
        ({"datatype": "FP64"}, "input 'title' has datatype 'FP64'; expected BYTES"),
        ({"name": "text"}, "lacks column 'title' and has unknown column 'text'"),
        ({"data": [[1]]}, "row 0, column 'title': expected a text, got [1]"),
        ({"data": "x"}, "the body does not fit: Expected `array`, got `str` - at `$.inputs[0].data`"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused_with_one_sentence(titles, changes, sentence):
    tensor = {"name": "title", "shape": [1], "datatype": "BYTES", "data": ["本"]} | changes
    reply = titles.http.post("/v2/models/titles/infer", json={"inputs": [tensor]})
    assert reply.status_code == 400
    assert sentence in reply.json()["error"]


def chunks_of(total, chunk=b" " * 65536):
    return (chunk for _ in range(total // len(chunk)))


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "content-length"])
def test_a_body_of_100_mb_is_refused_and_not_held(titles, streamed):
    before = titles.memory()
    content = chunks_of(100 * 2**20) if streamed else b" " * (100 * 2**20)
    reply = titles.http.post("/invocations", content=content)
    assert reply.status_code == 413
    assert reply.json() == {"error": "the body is too large; expected at most 16777216 bytes"}
    assert titles.memory() - before < 40 * 2**20
    assert titles.http.post("/invocations", json={"inputs": {"title": TEXTS}}).status_code == 200


def test_other_paths_and_methods_are_refused(titles):
    unknown = titles.http.get("/nowhere")
    assert unknown.status_code == 404
    assert "'/nowhere'" in unknown.json()["error"]
    wrong = titles.http.get("/invocations")
    assert wrong.status_code == 405
    assert wrong.headers["allow"] == "POST"
    assert wrong.json() == {"error": "/invocations takes POST, not GET"}
    assert titles.http.post("/v2/models/another/infer", json={}).status_code == 404


def test_it_says_what_is_served(titles, images):
    manifest = model(images, "titles").manifest
    said = titles.http.get("/").json()
    assert said["name"] == "titles"
    assert (said["version"], said["digest"], said["task"]) == ("7", "sha256:abc", "classification")
    assert said["features"] == {"title": "string"}
    assert len(said["fingerprint"]) == 64
    assert titles.http.get("/v2/health/ready").status_code == 200
    assert titles.http.get("/v2/models/titles/ready").json() == {"name": "titles", "ready": True}
    assert titles.http.get("/v2/models/titles").json() == {
        "name": manifest.name,
        "versions": ["7"],
        "platform": "zeta",
        "inputs": [{"name": "title", "datatype": "BYTES", "shape": [-1]}],
        "outputs": [{"name": "predictions", "datatype": "BYTES", "shape": [-1]}],
    }


def test_metrics_count_requests_rows_and_labels(serve):
    with serve("titles") as server:
        server.http.post("/invocations", json={"inputs": {"title": ["英語の参考書", "漫画全巻セット", "静かな洗濯機"]}})
        server.http.post("/invocations", content=b"?")
        server.http.get("/some/path")
        assert server.metric('zeta_model_info{digest="sha256:abc",name="titles",version="7"}') == 1
        assert server.metric('zeta_requests_total{code="200",path="/invocations"}') == 1
        assert server.metric('zeta_requests_total{code="400",path="/invocations"}') == 1
        assert server.metric('zeta_requests_total{code="404",path="unknown"}') == 1
        assert server.metric('zeta_request_seconds_count{path="/invocations"}') == 2
        assert server.metric("zeta_rows_total") == 3
        assert server.metric('zeta_predictions_total{label="本@1"}') == 2
        assert server.metric("zeta_model_errors_total") == 0


def test_an_exception_of_the_model_is_told_counted_and_logged_and_the_server_goes_on(slow):
    reply = slow.http.post("/invocations", json={"inputs": {"seconds": [-1]}})
    assert reply.status_code == 500
    assert reply.json() == {"error": "the model failed on this request: ArithmeticError: time runs forward"}
    assert slow.metric("zeta_model_errors_total") == 1
    assert "Traceback" in slow.log.read_text()
    assert slow.http.post("/invocations", json={"inputs": {"seconds": [0]}}).json() == {"predictions": [0.0]}


def test_health_answers_while_the_model_works_and_more_requests_than_allowed_are_sent_away(slow):
    def ask(_):
        return httpx.post(f"http://127.0.0.1:{slow.port}/invocations", json=body, trust_env=False, timeout=30)

    body = {"inputs": {"seconds": [1.5]}}
    with ThreadPoolExecutor(5) as clients:
        asked = [clients.submit(ask, number) for number in range(5)]
        while sum(one.done() for one in asked) < 3:
            assert slow.http.get("/v2/health/ready").status_code == 200
            assert slow.http.get("/metrics").status_code == 200
        refused = [one.result() for one in asked if one.done()]
        assert [reply.status_code for reply in refused] == [503] * 3
        assert {reply.headers["retry-after"] for reply in refused} == {"1"}
    assert sorted(one.result().status_code for one in asked) == [200, 200, 503, 503, 503]
