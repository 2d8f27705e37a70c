"""ONNX files: what is refused before anything runs, and that what is run gives what the file says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.finished_studies import BIAS, WEIGHTS, logistic, need_onnx, text, write
from wardround import load_study
from wardround.learning import onnxfile, onnxsize
from wardround.learning.finished import scores_of
from wardround.learning.onnxfile import inspect, run
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, MissingExtra, ProtocolError, WardroundError
from wardround.study.findings import FileRefused
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.rehearsed import rehearsal_of

pytestmark = pytest.mark.usefixtures("extra")


@pytest.fixture
def extra() -> None:
    need_onnx()


def changed(change: Callable[[Any], object]) -> bytes:
    """Return the test model with one thing changed in its parts."""
    import onnx

    model = onnx.load_model_from_string(logistic())
    change(model)
    return bytes(model.SerializeToString())


def refused(data: bytes) -> ProtocolError:
    with pytest.raises(ProtocolError) as caught:
        inspect(data, "model.onnx")
    assert caught.value.remedy
    return caught.value


def test_a_model_gives_what_its_file_says() -> None:
    x = np.random.default_rng(1).normal(50, 20, (5000, 3)).astype(np.float32)
    signature = inspect(logistic(), "model.onnx")
    assert [one.name for one in signature.inputs] == ["x"] and signature.inputs[0].shape == (None, 3)
    found = run(logistic(), "x", "p", x)
    assert found.shape == (5000, 1)
    assert np.allclose(found[:, 0], 1 / (1 + np.exp(-(x.astype(float) @ WEIGHTS + BIAS))), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda model: setattr(model.graph.node[1], "op_type", "Secret"), "custom operator 'Secret'"),
        (lambda model: setattr(model.graph.node[1], "domain", "com.evil"), "custom operator 'com.evil:Sigmoid'"),
        (lambda model: model.opset_import.add(domain="com.microsoft", version=1), "operator set 'com.microsoft'"),
        (lambda model: setattr(model.opset_import[0], "version", 999), "version 999"),
        (lambda model: setattr(model.opset_import[0], "version", 3), "version 3"),
        (lambda model: model.functions.add(name="own", domain="x"), "functions of its own (own)"),
        (lambda model: model.training_info.add(), "training part"),
        (lambda model: model.graph.initializer[0].external_data.add(key="location", value="/etc/passwd"), "'w' in another file"),
        (lambda model: setattr(model.graph.initializer[0], "data_location", 1), "'w' in another file"),
        (lambda model: model.graph.node.add(op_type="RandomNormal", output=["r"]), "random numbers (RandomNormal)"),
        (lambda model: model.graph.node[0].input.append("nowhere"), "not well formed"),
        (lambda model: model.graph.ClearField("node"), "holds no operator"),
    ],
)
def test_what_is_not_standard_is_refused_by_name(change: Callable[[Any], object], says: str) -> None:
    assert says in refused(changed(change)).message


def single(nodes: list[Any], constants: list[Any], given: int = 3, gives: int = 1) -> bytes:
    """Return a model of these operators, from x to p."""
    from onnx import helper

    ends = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", given), ("p", gives))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], constants)
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString())


def constant(name: str, value: Any, kind: Any = np.float32) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.array(value, dtype=kind), name)


def dropping(training: Any) -> bytes:
    from onnx import helper

    return single([helper.make_node("Dropout", ["x", "r", "t"], ["p"])], [constant("r", 0.5), constant("t", training, bool)], gives=3)


def test_dropout_in_training_is_refused_and_without_it_runs() -> None:
    assert "Dropout in training" in refused(dropping(True)).message
    x = np.ones((4, 3), dtype=np.float32)
    assert np.array_equal(run(inspect(dropping(False), "m").file, "x", "p", x), x)


def test_loops_and_large_fillings_are_refused() -> None:
    from onnx import helper

    value = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in (("i", 7, []), ("c", 9, []), ("v", 1, None))]
    body = helper.make_graph([helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Add", ["v", "v"], ["w"])], "b", value, [])
    loop = helper.make_node("Loop", ["m", "t", "x"], ["p"], body=body)
    assert "has a loop (Loop)" in refused(single([loop], [constant("m", 2**62, np.int64), constant("t", True, bool)])).message
    fill = helper.make_node("ConstantOfShape", ["s"], ["big"])
    tail = [helper.make_node("ReduceSum", ["big"], ["q"], keepdims=0), helper.make_node("Add", ["x", "q"], ["p"])]
    assert "ConstantOfShape" in refused(single([fill, *tail], [constant("s", [2**28], np.int64)])).message
    assert "ConstantOfShape" in refused(single([helper.make_node("Shape", ["x"], ["s"]), fill, *tail], [])).message
    inspect(single([fill, *tail], [constant("s", [8], np.int64)], gives=3), "m")


def test_memory_that_a_model_asks_for_has_a_bound() -> None:
    from onnx import helper

    nodes = [helper.make_node("Expand", ["o", "s"], ["big"]), helper.make_node("ReduceSum", ["big"], ["q"], keepdims=0)]
    model = single([*nodes, helper.make_node("Add", ["x", "q"], ["p"])], [constant("o", [1.0]), constant("s", [2**30], np.int64)], gives=3)
    with pytest.raises(DataError, match="could not be run"):
        run(inspect(model, "m").file, "x", "p", np.ones((1, 3), dtype=np.float32))


def test_a_small_file_of_millions_of_parts_is_refused_before_it_is_read() -> None:
    import onnx

    parts = b"\x2a\x00" * 400_000  # empty constants
    model = onnx.load_model_from_string(logistic())
    graph = model.graph.SerializeToString() + parts
    model.ClearField("graph")
    size = b"".join(bytes([(len(graph) >> 7 * place) & 127 | 128]) for place in range(4)) + b"\x00"
    assert "has more than 300,000 parts" in refused(model.SerializeToString() + b"\x3a" + size + graph).message


def test_the_count_of_parts_is_that_of_the_messages() -> None:
    import onnx

    model = onnx.load_model_from_string(logistic())

    def below(one: Any) -> int:
        found = 0
        for field, value in one.ListFields():
            if field.message_type is not None:
                many = value if not hasattr(value, "ListFields") else [value]
                found += sum(1 + below(part) for part in many)
        return found

    assert onnxsize.count(model.SerializeToString(), onnx.ModelProto.DESCRIPTOR) == below(model) > 10


def test_a_file_with_parts_that_onnx_does_not_know_is_refused() -> None:
    assert "holds parts that are not of ONNX" in refused(logistic() + b"\xa2\x06\x03abc").message
    assert inspect(logistic(), "m").file.startswith(b"\x08")


def test_bytes_that_onnxruntime_takes_for_its_own_format_are_read_as_onnx(tmp_path: Path) -> None:
    """A file whose bytes 4 to 8 are ORTM is another model to onnxruntime, unless it is told what to read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(tmp_path / "m.ort"), 4
    options.add_session_config_entry("session.save_model_format", "ORT")
    onnxruntime.InferenceSession(logistic(), options, providers=["CPUExecutionProvider"])
    data = (tmp_path / "m.ort").read_bytes()
    assert data[4:8] == b"ORTM"
    with pytest.raises(DataError, match="could not be run"):
        run(data, "x", "p", np.ones((1, 3), dtype=np.float32))


def test_no_row_sees_another() -> None:
    """A model that adds up over its batch gives each row its own sum."""
    from onnx import helper

    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    over = single(
        [helper.make_node("ReduceSum", ["x", "a"], ["s"]), helper.make_node("Add", ["x", "s"], ["p"])],
        [constant("a", [0], np.int64)],
        gives=3,
    )
    assert np.array_equal(run(inspect(over, "m").file, "x", "p", x), 2 * x)


def test_what_has_no_answer_of_its_own_for_a_row_is_refused() -> None:
    from onnx import helper

    x = np.ones((2, 3), dtype=np.float32)
    many = single([helper.make_node("Concat", ["x", "x"], ["p"], axis=0)], [], gives=3)
    with pytest.raises(DataError, match="several answers"):
        run(inspect(many, "m").file, "x", "p", x)


def test_an_error_at_a_row_says_nothing_of_the_row() -> None:
    from onnx import helper

    steps = [helper.make_node("Cast", ["x"], ["i"], to=7), helper.make_node("Gather", ["table", "i"], ["p"])]
    model = single(steps, [constant("table", [1.0, 2.0])], gives=3)
    with pytest.raises(DataError) as caught:
        run(inspect(model, "m").file, "x", "p", np.full((1, 3), 9731.0, dtype=np.float32))
    assert "9731" in str(caught.value.__cause__) and "9731" not in f"{caught.value.message}{caught.value.remedy}"


def test_a_model_that_onnxruntime_cannot_open_is_refused_before_it_goes_anywhere(tmp_path: Path) -> None:
    import onnx
    from onnx import helper

    newest = onnx.defs.onnx_opset_version()
    model = logistic(opset_imports=[helper.make_opsetid("", newest)], ir_version=int(onnx.IR_VERSION))
    try:
        onnxfile.opens(inspect(model, "m").file, "m")
    except ProtocolError:
        assert "cannot be opened by onnxruntime (" in complaint(tmp_path, text(), model)
    else:
        pytest.skip("onnx and onnxruntime are of the same age here")


def test_operators_inside_others_are_looked_at_too() -> None:
    from onnx import helper

    def hide(model: Any) -> None:
        inner = helper.make_graph([helper.make_node("Evil", [], ["y"])], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=inner, else_branch=inner))

    assert "custom operator 'Evil'" in refused(changed(hide)).message


@pytest.mark.parametrize("data", [b"", b"not a model", b"\x80\x04\x95pickle", bytes(8192)])
def test_what_is_no_onnx_file_is_refused(data: bytes) -> None:
    assert "is not an ONNX file" in refused(data).message


def test_any_cut_or_altered_file_is_refused_or_is_a_model() -> None:
    data, dice = logistic(), np.random.default_rng(0)
    for _ in range(300):
        spoilt = bytearray(data[: int(dice.integers(1, len(data) + 1))])
        spoilt[int(dice.integers(len(spoilt)))] ^= int(dice.integers(1, 256))
        try:
            inspect(bytes(spoilt), "model.onnx")
        except WardroundError as error:
            assert error.remedy


def test_a_missing_extra_names_the_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxfile, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match="onnxruntime") as caught:
        inspect(logistic(), "model.onnx")
    assert "wardround[onnx]" in caught.value.remedy


def complaint(tmp_path: Path, study: str, model: bytes | None = None) -> str:
    """Return what is said of a study with its model."""
    write(tmp_path, study, {}, model)
    with pytest.raises(ProtocolError) as caught:
        load_study(tmp_path / "study.toml")
    assert caught.value.remedy
    return f"{caught.value.message} {caught.value.remedy}"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": 'takes = "rows"'}, "input 'rows' is not there; model.onnx has: 'x' (float32 [any, 3])"),
        ({"model": 'output = "label"'}, "output 'label' is not there; model.onnx has: 'p'"),
        ({"inputs": '["age", "sex=m"]'}, "the field 'chol' is not among them"),
        ({"inputs": '["age", "chol", "sex=m", "sex=f"]'}, "names 4 columns, and the input of model.onnx is 'x'"),
        ({"inputs": '["age", "cholesterol", "sex=m"]'}, "'cholesterol' is no input"),
        ({"inputs": '["age", "chol", "sex=x"]'}, "names no code of 'sex'"),
        ({"inputs": '["age", "chol", "sex"]'}, "the codes of 'sex' are no numbers"),
        ({"inputs": '["age", "chol", "ward=a"]'}, "'ward=a' is no input"),
        ({"inputs": '["age", "chol", "sex=m", "age"]'}, "names a column twice"),
    ],
)
def test_columns_and_names_that_do_not_fit_are_named(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    assert says in complaint(tmp_path, text(**changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("fill = { chol = 200 }", "", "model.fill.chol: is missing"),
        ("fill = { chol = 200 }", "fill = { chol = 200, age = 3 }", "the contract refuses missing values of 'age'"),
        ("fill = { chol = 200 }", "fill = { chol = 200, height = 3 }", "the model takes no such field"),
        ("fill = { chol = 200 }", 'fill = { chol = "high" }', "'chol' is a number"),
        ('missing = "count" }\nsex', 'missing = "mean" }\nsex', "'mean' needs the training mean"),
        ('file = "model.onnx"', 'file = "../model.onnx"', "model.file"),
        ('file = "model.onnx"', 'file = "other.onnx"', "cannot be read"),
        ('file = "model.onnx"\n', "", "model.file: is missing"),
        ('trained_on = "Made-up numbers; no patient at all."\n', "", "model.trained_on: is missing"),
        ('kind = "evaluation"\n', "", "is for a study that tests a finished model"),
        ("counts = true", "counts = false", "privacy.counts"),
        ("[evaluation]\n", "[stop]\npatience = 3\n[evaluation]\n", "stop: nothing is trained"),
        ("replicates = 50", "replicates = 50\nspecificity = 0.8", "evaluation.specificity"),
        ("subgroups = { sex = [], age = [50, 65], ward = [] }", "subgroups = { age = [] }", "a number needs edges"),
        ("subgroups = { sex = [], age = [50, 65], ward = [] }", "subgroups = { sex = [1] }", "a code has no edges"),
        ("subgroups = { sex = [], age = [50, 65], ward = [] }", "subgroups = { race = [] }", "can divide patients"),
        ("subgroups = { sex = [], age = [50, 65], ward = [] }", "subgroups = { ill = [] }", "can divide patients"),
        ('kind = "assess"\nsubgroups = { sex = [], age = [50, 65], ward = [] }', 'kind = "evaluate"', "no model to test"),
        ('kind = "binary"', 'kind = "regression"', "question"),
    ],
)
def test_plans_that_cannot_be_are_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    study = text()
    assert old in study
    found = complaint(tmp_path, study.replace(old, new))
    assert says in found


def test_a_model_that_comes_finished_cannot_be_trained() -> None:
    study = text().replace('kind = "evaluation"\n', "").replace('file = "model.onnx"\n', "")
    study = study.replace('trained_on = "Made-up numbers; no patient at all."\n', "").replace(', missing = "count"', "")
    study = study.replace("smallest_count = 10\n", "").replace(
        'kind = "assess"\nsubgroups = { sex = [], age = [50, 65], ward = [] }', 'kind = "fedavg"'
    )
    with pytest.raises(FileRefused, match="comes finished and cannot be trained"):
        read_protocol(study, "study.toml")


def other(takes: Any = None, gives: Any = None, **changes: Any) -> bytes:
    def change(model: Any) -> None:
        if takes is not None:
            model.graph.input[0].CopyFrom(takes)
        if gives is not None:
            model.graph.output[0].CopyFrom(gives)

    return changed(change)


def test_shapes_and_types_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    info = helper.make_tensor_value_info
    assert "takes exactly 1 rows" in complaint(tmp_path / "a", text(), other(info("x", TensorProto.FLOAT, [1, 3])))
    assert "no table of numbers" in complaint(tmp_path / "b", text(), other(info("x", TensorProto.STRING, ["n", 3])))
    assert "no table of numbers" in complaint(tmp_path / "c", text(), other(info("x", TensorProto.FLOAT, [3])))
    found = complaint(tmp_path / "d", text(), other(gives=info("p", TensorProto.INT64, ["n"])))
    assert "'p' (int64 [any])" in found and "zipmap" in found
    assert "is not named" in complaint(tmp_path / "e", text(), logistic(outputs=2))
    write(tmp_path / "f", text(model='output = "p"'), {}, logistic(outputs=2))
    assert load_study(tmp_path / "f" / "study.toml").protocol.brought["file"].dtype == np.uint8


def scored(tmp_path: Path, model: bytes, extra_line: str, columns: dict[str, Any]) -> np.ndarray:
    write(tmp_path, text(model=extra_line), {}, model)
    protocol = load_study(tmp_path / "study.toml").protocol
    count = len(columns["age"])
    data = Dataset({name: np.asarray(one) for name, one in columns.items()}, np.arange(count), np.full(count, 2, dtype=np.int8))
    return scores_of(protocol, model, data, np.arange(count))


def test_scores_are_logits_whichever_output_is_named(tmp_path: Path) -> None:
    columns = {"age": [50.0, 80.0], "chol": [np.nan, 300.0], "sex": np.array([0, 1], dtype=np.int32)}
    logits = np.array([[50.0, 200.0, 0.0], [80.0, 300.0, 1.0]]) @ WEIGHTS + BIAS
    for line in ('output = "p"', 'output = "logit"\ngives = "logit"'):
        found = scored(tmp_path / line[:9], logistic(outputs=2), line, columns)
        assert found.shape == (2, 1) and np.allclose(found[:, 0], logits, atol=1e-4)


def test_numbers_that_are_no_probabilities_are_refused(tmp_path: Path) -> None:
    columns = {"age": [50.0], "chol": [200.0], "sex": np.array([0], dtype=np.int32)}
    with pytest.raises(DataError, match="no probabilities"):
        scored(tmp_path / "a", logistic(bias=5.0, outputs=2), 'output = "logit"', columns)
    with pytest.raises(DataError, match="not finite"):
        scored(tmp_path / "b", logistic(np.array([np.inf, 0.0, 0.0])), 'gives = "logit"', {**columns, "age": [0.0]})


def test_a_value_that_nobody_says_how_to_fill_is_refused(tmp_path: Path) -> None:
    columns = {"age": [np.nan], "chol": [200.0], "sex": np.array([0], dtype=np.int32)}
    with pytest.raises(DataError, match="age: is missing"):
        scored(tmp_path, logistic(), "", columns)


def test_a_rehearsal_does_not_run_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody at a hospital has approved it then; the scores are made up, whatever the file holds."""
    write(tmp_path, text(), {}, logistic())
    plan = load_study(tmp_path / "study.toml").protocol
    data = Dataset({}, np.arange(7), np.full(7, 2, dtype=np.int8))
    made_up = scores_of(rehearsal_of(plan), b"no model", data, np.arange(7))
    assert made_up.shape == (7, 1) and np.all(np.isfinite(made_up))
    with pytest.raises(ProtocolError, match="is not an ONNX file"):
        scores_of(plan, b"no model", data, np.arange(7))
    monkeypatch.setattr(onnxfile, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra):
        scores_of(rehearsal_of(plan), b"no model", data, np.arange(7))
