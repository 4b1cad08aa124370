"""Requests and answers as they go over the wire: MLflow's JSON forms and the Open Inference Protocol v2."""

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
import numpy as np

from pipeline.components.labels import split
from pipeline.manifest import Kind, Manifest
from pipeline.serving.query import Limits, Query, Refusal, checked, refuse, refuse_columns

FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")
TEXT = "BYTES"
NUMBER = "FP64"
NUMBERS = (NUMBER, "FP32", "FP16", *(f"{sign}INT{bits}" for sign in ("", "U") for bits in (64, 32, 16, 8)))


class _Params(msgspec.Struct, forbid_unknown_fields=True):
    k: Annotated[int, msgspec.Meta(ge=1, le=1000)] | None = None


class _Split(msgspec.Struct):
    columns: list[str]
    data: list[list[Any]]


class _Invocation(msgspec.Struct):
    dataframe_split: _Split | None = None
    dataframe_records: list[dict[str, Any]] | None = None
    instances: list[dict[str, Any]] | dict[str, list[Any]] | None = None
    inputs: dict[str, list[Any]] | None = None
    params: _Params = msgspec.field(default_factory=_Params)


class _Tensor(msgspec.Struct):
    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class _Inference(msgspec.Struct):
    inputs: list[_Tensor]
    id: str | None = None
    parameters: _Params = msgspec.field(default_factory=_Params)


_INVOCATION = msgspec.json.Decoder(_Invocation)
_INFERENCE = msgspec.json.Decoder(_Inference)


def invocation(body: bytes, manifest: Manifest, limits: Limits) -> Query:
    """Read a POST /invocations; raises Refusal."""
    request: _Invocation = _decoded(_INVOCATION, body)
    given = [value for form in FORMS if (value := getattr(request, form)) is not None]
    if len(given) != 1:
        refuse(f"the body has {len(given)} of the keys {', '.join(FORMS)}; expected exactly one of them")
    table = given[0]
    if isinstance(table, _Split):
        table = _split_columns(table)
    elif isinstance(table, list):
        table = _record_columns(table, manifest.features)
    return checked(table, request.params.k, None, manifest, limits)


def inference(body: bytes, manifest: Manifest, limits: Limits) -> Query:
    """Read a POST /v2/models/NAME/infer; raises Refusal."""
    request: _Inference = _decoded(_INFERENCE, body)
    _check_names("inputs", [tensor.name for tensor in request.inputs])
    for tensor in request.inputs:
        _check_tensor(tensor, manifest.features.get(tensor.name))
    columns = {tensor.name: tensor.data for tensor in request.inputs}
    return checked(columns, request.parameters.k, request.id, manifest, limits)


def predictions(answers: np.ndarray, manifest: Manifest) -> bytes:
    """Write the answer of /invocations: a label or a number a row; a list of labels for sets and rankings."""
    listed = split(answers) if manifest.task == "multilabel" else answers.tolist()
    return msgspec.json.encode({"predictions": listed})


def tensors(answers: np.ndarray, id: str | None, manifest: Manifest, version: str) -> bytes:
    """Write the answer of /v2/models/NAME/infer: one tensor, flat, of shape [n] or [n, k]."""
    tensor = _output(manifest) | {"shape": list(answers.shape), "data": answers.ravel().tolist()}
    answer = {"model_name": manifest.name, "model_version": version, "outputs": [tensor]}
    return msgspec.json.encode(answer if id is None else answer | {"id": id})


def metadata(manifest: Manifest, version: str) -> bytes:
    """Write the answer of /v2/models/NAME: the tensors that it takes and gives."""
    datatypes = {"string": TEXT, "number": NUMBER}
    inputs = [{"name": name, "datatype": datatypes[kind], "shape": [-1]} for name, kind in manifest.features.items()]
    described = {"name": manifest.name, "versions": [version], "platform": "zeta", "inputs": inputs}
    return msgspec.json.encode(described | {"outputs": [_output(manifest) | {"shape": [-1]}]})


def _output(manifest: Manifest) -> dict[str, Any]:
    return {"name": "predictions", "datatype": NUMBER if manifest.task == "regression" else TEXT}


def _decoded(decoder: msgspec.json.Decoder[Any], body: bytes) -> Any:
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Refusal(400, f"the body does not fit: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, f"the body is not JSON: {error}") from error


def _split_columns(table: _Split) -> dict[str, list[Any]]:
    _check_names("dataframe_split.columns", table.columns)
    for row, values in enumerate(table.data):
        if len(values) != len(table.columns):
            refuse(f"row {row} has {len(values)} values; expected one for each column of {table.columns}")
    return {name: [values[at] for values in table.data] for at, name in enumerate(table.columns)}


def _record_columns(records: list[dict[str, Any]], features: Mapping[str, Kind]) -> dict[str, list[Any]]:
    for row, record in enumerate(records):
        if record.keys() != features.keys():
            refuse_columns(f"row {row}", record, features)
    return {name: [record[name] for record in records] for name in features}


def _check_names(where: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        refuse(f"{where}: a name stands twice in {names}; expected each feature once")


def _check_tensor(tensor: _Tensor, kind: Kind | None) -> None:
    count = len(tensor.data)
    if tensor.shape not in ([count], [count, 1]):
        refuse(f"input {tensor.name!r} has shape {tensor.shape} and {count} values; expected shape [{count}]")
    expected = NUMBERS if kind == "number" else (TEXT,)
    if kind is not None and tensor.datatype not in expected:
        refuse(f"input {tensor.name!r} has datatype {tensor.datatype!r}; expected {' or '.join(expected)}")
