"""Look into an ONNX file before anything runs it, and run it: row by row, one thread, on the processor, nothing but standard operators.

An ONNX file is a graph of named operators with their constants. It holds no code of its own unless it names an operator that somebody
else's library brings, so any such name is refused, as are constants that lie in other files, functions, training parts, operators that
draw random numbers, and loops. What is left is written anew, and that is run by `onnxruntime`, in the worker: bytes that the two packages
could read in two ways do not reach it. No operator of ONNX opens a connection; but that the worker has no network, nothing enforces.

Each row is run by itself, so that its score cannot depend on other patients. What a model works out of one row stays free: a model made for
it can write an input into the score.

Source: ONNX IR specification, https://onnx.ai/onnx/repo-docs/IR.html (ModelProto, external data, operator sets).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import numpy as np

from wardround.learning.onnxsize import MOST_PARTS, count
from wardround.study.errors import DataError, MissingExtra, ProtocolError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operator sets that are part of ONNX itself; "" is another name of the second."""

OLDEST = 7
MOST_OPERATORS = 100_000
MOST_MEMORY = 2 * 2**30
"""Bytes that onnxruntime may hold for tensors at once."""

MOST_FILLED = 2**24
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
ENDLESS = {"Loop", "Scan", "SequenceMap"}
_EXPORT = "Export the model again with standard operators alone."


@dataclass(frozen=True)
class Tensor:
    """Describe an input or output.

    Attributes:
        name: in the file.
        kind: numpy's name of its type, such as "float32"; "" for what is no tensor.
        shape: a number, or None where any size will do; None altogether where the file does not say.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        sizes = "of unknown shape" if self.shape is None else f"[{', '.join('any' if one is None else str(one) for one in self.shape)}]"
        return f"{self.name!r} ({self.kind or 'no tensor'} {sizes})"


@dataclass(frozen=True)
class Signature:
    """Hold what a model takes and gives, and the file anew: what was looked at and nothing else."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    file: bytes = field(repr=False)


def need_onnx() -> None:
    """Refuse to go on without the packages.

    Raises:
        MissingExtra: they are not installed.
    """
    if find_spec("onnx") is None or find_spec("onnxruntime") is None:
        raise MissingExtra("This model needs onnx and onnxruntime, which are not installed.", "Install them: pip install 'wardround[onnx]'")


def inspect(data: bytes, name: str) -> Signature:
    """Return what a model takes and gives, once its file holds nothing but standard operators and its own constants.

    Args:
        data: the file.
        name: of the file, for the messages.

    Raises:
        MissingExtra: onnx is not installed.
        ProtocolError: the file is refused; says why.
    """
    need_onnx()
    import onnx

    try:
        if count(data, onnx.ModelProto.DESCRIPTOR) > MOST_PARTS:
            raise _refused(name, f"has more than {MOST_PARTS:,} parts", "Export a smaller model.")
        model = onnx.load_model_from_string(data)
    except ProtocolError:
        raise
    except Exception as error:  # protobuf's DecodeError, and what else spoilt bytes raise
        raise _refused(name, "is not an ONNX file", "Name the .onnx file that was exported.") from error
    try:
        return _looked_into(model, name)
    except ProtocolError:
        raise
    except Exception as error:  # spoilt names raise errors of many kinds, in onnx and in protobuf
        raise _refused(name, f"is not well formed ({_cleaned(error)})", "Export it again.") from error


def _looked_into(model: Any, name: str) -> Signature:
    """Return what a model takes and gives, once each of its parts was looked at."""
    import onnx

    if not model.graph.node:
        raise _refused(name, "is not an ONNX file, or holds no operator", "Name the .onnx file that was exported.")
    size = model.ByteSize()
    model.DiscardUnknownFields()
    if model.ByteSize() != size:
        raise _refused(name, "holds parts that are not of ONNX, or of a newer version of it")
    _sets(model, name)
    operators = 0
    for graph in _graphs(model.graph):
        operators += len(graph.node)
        if operators > MOST_OPERATORS:
            raise _refused(name, f"has more than {MOST_OPERATORS:,} operators", "Export a smaller model.")
        _operators(graph, name)
        _constants(graph, name)
    onnx.checker.check_model(model)
    constants = {one.name for one in model.graph.initializer}
    taken = tuple(_tensor(one) for one in model.graph.input if one.name not in constants)
    return Signature(taken, tuple(_tensor(one) for one in model.graph.output), model.SerializeToString())


def opens(file: bytes, name: str) -> None:
    """Refuse a file that onnxruntime cannot open; nothing is run, and no constant folded.

    Args:
        file: of a `Signature`.
        name: of the file, for the message.

    Raises:
        ProtocolError: it cannot be opened; says why.
    """
    try:
        _session(file)
    except Exception as error:  # onnxruntime's own classes of errors share no other base
        remedy = "Export it with an older operator set, or install a newer onnxruntime everywhere."
        raise _refused(name, f"cannot be opened by onnxruntime ({_cleaned(error)})", remedy) from error


def _session(file: bytes) -> Any:
    """Return a file opened: read as ONNX whatever its first bytes say, with a bound to its tensors' memory."""
    import onnxruntime

    kind, way = onnxruntime.OrtMemType.DEFAULT, onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR
    bound = onnxruntime.OrtArenaCfg({"max_mem": MOST_MEMORY})
    onnxruntime.create_and_register_allocator(onnxruntime.OrtMemoryInfo("Cpu", way, 0, kind), bound)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.use_env_allocators", "1")
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def run(file: bytes, takes: str, gives: str, x: np.ndarray) -> np.ndarray:
    """Return what a model gives for rows, float64 [N, outputs], each row run by itself.

    Messages name the kind of an error and nothing of its text, which could hold a patient's value.

    Args:
        file: of a `Signature`.
        takes: name of the input.
        gives: name of the output.
        x: [N, F], of the input's type, N at least 1.

    Raises:
        MissingExtra: onnxruntime is not installed.
        DataError: the model cannot be run on such rows.
    """
    need_onnx()
    try:
        session = _session(file)
        parts = [np.asarray(session.run([gives], {takes: x[at : at + 1]})[0], dtype=np.float64) for at in range(len(x))]
        if any(one.shape[:1] not in ((), (1,)) for one in parts):
            raise DataError("The model gives several answers for one row.", "Export it so that each row has its own answer.")
        return np.stack([one.reshape(-1) for one in parts])
    except DataError:
        raise
    except Exception as error:  # onnxruntime's own classes of errors share no other base
        remedy = "Try it on a table of this contract where it was made; the kind of error stands in the message."
        raise DataError(f"The ONNX model could not be run ({type(error).__name__}).", remedy) from error


def _cleaned(error: Exception) -> str:
    """Return the beginning of another package's message, on one line, in plain letters."""
    return " ".join(ascii(str(error))[1:-1].replace("\\n", " ").split())[:160]


def _refused(name: str, why: str, remedy: str = _EXPORT) -> ProtocolError:
    return ProtocolError(f"model.file: {name} {why}.", remedy)


def _sets(model: Any, name: str) -> None:
    """Refuse operator sets that are not ONNX's own, or of a version that is not known here."""
    import onnx

    if model.functions:
        raise _refused(name, f"brings functions of its own ({model.functions[0].name})")
    if model.training_info:
        raise _refused(name, "brings a training part", "Export it for inference.")
    newest = {"": onnx.defs.onnx_opset_version(), "ai.onnx.ml": _newest_ml()}
    for one in model.opset_import:
        if one.domain not in DOMAINS:
            raise _refused(name, f"uses the operator set {one.domain!r}, which is not part of ONNX")
        domain = "" if one.domain == "ai.onnx" else one.domain
        least = 1 if domain else OLDEST
        if not least <= one.version <= newest[domain]:
            called = domain or "ai.onnx"
            remedy = f"Export it with an operator set from {least} to {newest[domain]}."
            raise _refused(name, f"uses version {one.version} of the operator set {called}", remedy)


def _newest_ml() -> int:
    """Return the newest version of ONNX's own operators for machine learning that is known here."""
    import onnx

    return max(int(one.since_version) for one in onnx.defs.get_all_schemas_with_history() if one.domain == "ai.onnx.ml")


def _graphs(graph: Any) -> Iterator[Any]:
    """Yield a graph and those inside its operators."""
    todo = [graph]
    while todo:
        one = todo.pop()
        yield one
        for operator in one.node:
            for attribute in operator.attribute:
                todo += [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]


def _operators(graph: Any, name: str) -> None:
    """Refuse operators that are not ONNX's own, or draw random numbers."""
    import onnx

    for operator in graph.node:
        domain = "" if operator.domain == "ai.onnx" else operator.domain
        if domain not in DOMAINS or not onnx.defs.has(operator.op_type, domain):
            called = f"{operator.domain}:{operator.op_type}" if operator.domain else operator.op_type
            raise _refused(name, f"has the custom operator {called!r}")
        if operator.op_type in RANDOM:
            raise _refused(
                name, f"draws random numbers ({operator.op_type}), so nobody could repeat its figures", "Export it for inference."
            )
        if operator.op_type in ENDLESS:
            raise _refused(name, f"has a loop ({operator.op_type}), so nothing bounds how long it runs", "Export it without loops.")
        _bounded(graph, operator, name)


def _bounded(graph: Any, operator: Any, name: str) -> None:
    """Refuse dropout that still draws numbers, and constants whose size nobody knows beforehand, or a very large one."""
    given = operator.input
    if operator.op_type == "Dropout" and len(given) > 2 and given[2]:
        drawn = _constant(graph, given[2])
        if drawn is None or bool(np.any(drawn)):
            raise _refused(
                name, "draws random numbers (Dropout in training), so nobody could repeat its figures", "Export it for inference."
            )
    if operator.op_type == "ConstantOfShape":
        shape = _constant(graph, given[0])
        if shape is None or float(np.prod(shape.astype(np.float64))) > MOST_FILLED:
            raise _refused(name, "fills a constant of a computed or very large size (ConstantOfShape)", "Export it with constants folded.")


def _constant(graph: Any, name: str) -> np.ndarray | None:
    """Return a constant of a graph by name; None where it is none, or is worked out."""
    import onnx

    for one in graph.initializer:
        if one.name == name:
            return np.asarray(onnx.numpy_helper.to_array(one))
    for operator in graph.node:
        if operator.op_type == "Constant" and name in operator.output:
            return next((np.asarray(onnx.numpy_helper.to_array(one.t)) for one in operator.attribute if one.name == "value"), None)
    return None


def _constants(graph: Any, name: str) -> None:
    """Refuse constants that lie in other files."""
    import onnx

    attributes = [attribute for operator in graph.node for attribute in operator.attribute]
    sparse = [*graph.sparse_initializer, *(one.sparse_tensor for one in attributes if one.HasField("sparse_tensor"))]
    sparse += [part for one in attributes for part in one.sparse_tensors]
    tensors = [
        *graph.initializer,
        *(one.t for one in attributes if one.HasField("t")),
        *(part for one in attributes for part in one.tensors),
    ]
    for tensor in (*tensors, *(part for one in sparse for part in (one.values, one.indices))):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise _refused(
                name, f"keeps {tensor.name or 'a constant'!r} in another file", "Save it as one file (save_as_external_data=False)."
            )


def _tensor(value: Any) -> Tensor:
    """Return name, type and shape of an input or output."""
    import onnx

    if not value.type.HasField("tensor_type"):
        return Tensor(value.name, "", None)
    found = value.type.tensor_type
    try:
        kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(found.elem_type)).name
    except (KeyError, TypeError, ValueError):
        kind = "unknown"
    if not found.HasField("shape"):
        return Tensor(value.name, kind, None)
    return Tensor(
        value.name, kind, tuple(one.dim_value if one.HasField("dim_value") and one.dim_value > 0 else None for one in found.shape.dim)
    )
