"""Look into an ONNX file before anything runs it, and run it: one thread, on the processor, nothing but standard operators.

An ONNX file is a graph of named operators with their constants. It holds no code of its own unless it names an operator that somebody
else's library brings, so any such name is refused, as are constants that lie in other files, functions, training parts and operators that
draw random numbers. What is left is run by `onnxruntime`, in the worker that has no network.

Source: ONNX IR specification, https://onnx.ai/onnx/repo-docs/IR.html (ModelProto, external data, operator sets).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from wardround.study.errors import DataError, MissingExtra, ProtocolError

DOMAINS = ("", "ai.onnx", "ai.onnx.ml")
"""Operator sets that are part of ONNX itself; "" is another name of the second."""

OLDEST = 7
MOST_OPERATORS = 100_000
ROWS_AT_ONCE = 4096
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
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
    """Hold what a model takes and gives."""

    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


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
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError) as error:
        raise _refused(name, "is not an ONNX file", "Name the .onnx file that was exported.") from error
    if not model.graph.node:
        raise _refused(name, "is not an ONNX file, or holds no operator", "Name the .onnx file that was exported.")
    _sets(model, name)
    operators = 0
    for graph in _graphs(model.graph):
        operators += len(graph.node)
        if operators > MOST_OPERATORS:
            raise _refused(name, f"has more than {MOST_OPERATORS:,} operators", "Export a smaller model.")
        _operators(graph, name)
        _constants(graph, name)
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError, RuntimeError, TypeError, OverflowError) as error:  # the last four of spoilt names
        first = " ".join(ascii(str(error))[1:-1].replace("\\n", " ").split())[:160]
        raise _refused(name, f"is not well formed ({first})", "Export it again.") from error
    constants = {one.name for one in model.graph.initializer}
    taken = tuple(_tensor(one) for one in model.graph.input if one.name not in constants)
    return Signature(taken, tuple(_tensor(one) for one in model.graph.output))


def run(data: bytes, takes: str, gives: str, x: np.ndarray) -> np.ndarray:
    """Return what a model gives for rows, float64, the first axis that of the rows.

    Args:
        data: a file that `inspect` let through.
        takes: name of the input.
        gives: name of the output.
        x: [N, F], of the input's type.

    Raises:
        MissingExtra: onnxruntime is not installed.
        DataError: the model cannot be run on such rows.
    """
    need_onnx()
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    try:
        session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        starts = range(0, max(len(x), 1), ROWS_AT_ONCE)
        parts = [np.asarray(session.run([gives], {takes: x[start : start + ROWS_AT_ONCE]})[0]) for start in starts]
    except Exception as error:  # onnxruntime's own classes of errors share no other base
        remedy = "Try it on a table of this contract where it was made; the kind of error stands in the message."
        raise DataError(f"The ONNX model could not be run ({type(error).__name__}).", remedy) from error
    found = np.concatenate(parts).astype(np.float64)
    if len(found) != len(x):
        raise DataError(f"The model gives {len(found)} answers for {len(x)} rows.", "Export it so that each row has its own answer.")
    return found


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
