"""Test a model that comes as an ONNX file, ours or bought.

The plan says what the model is given, column by column, from the contract's fields in the contract's units: `age` for a number, `sex=male`
for 1 where the code is "male" and 0 elsewhere, `ward` for a code that is a number itself. Nothing is scaled or guessed; what the model does
with its inputs stands in its file. A missing value is refused by the contract, or filled with the constant that the plan states.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from wardround.learning.finished import Finished
from wardround.learning.onnxfile import Signature, Tensor, inspect, need_onnx, opens, run
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, ProtocolError
from wardround.study.findings import nearest
from wardround.study.protocol import Contract, Protocol

_SLACK = 1e-5
"""How far a probability may lie beyond 0 and 1: models count in 32 bits."""


@dataclass(frozen=True)
class Column:
    """Name one column of the model: a field, and of a code maybe the code for which it is 1."""

    name: str
    field: str
    code: str | None


@dataclass(frozen=True)
class Onnx(Finished):
    """Give rows of a table to an ONNX model.

    Attributes:
        inputs: the columns that the model takes, in its order: fields of the contract, or FIELD=CODE for 1 where the code is that.
        takes: name of the model's input in the file; "" where it has one.
        gives: what its output is: "probability" of each class (of a yes-or-no question also of the positive code alone), or "logit".
        output: name of that output in the file; "" where one output alone can be meant.
        fill: by field, what the model is given where the value is missing: a number, or a code.
    """

    inputs: Annotated[tuple[str, ...], Field(min_length=1)]
    takes: str = ""
    gives: Literal["probability", "logit"] = "probability"
    output: str = ""
    fill: dict[str, float | str] = field(default_factory=dict)

    def fits(self, protocol: Protocol) -> None:
        """Refuse columns and fillings that do not fit the contract."""
        contract = protocol.contract
        used = {one.field for one in self._columns(contract)}
        for name in contract.inputs:
            if name not in used:
                remedy = "Write input = false beside the field if the model does not take it, or add it to model.inputs."
                raise ProtocolError(f"model.inputs: the field {name!r} is not among them.", remedy)
        for name in self.fill:
            if name not in used:
                raise ProtocolError(f"model.fill.{name}: the model takes no such field.", nearest(name, sorted(used)))
        for name in sorted(used):
            self._filled(contract, name)

    def _filled(self, contract: Contract, name: str) -> None:
        """Refuse a field whose missing values nobody says what to do with."""
        one = contract.fields[name]
        if one.missing in ("mean", "indicator"):
            wrong = f"contract.fields.{name}.missing: {one.missing!r} needs the training mean, which an ONNX file does not tell."
            raise ProtocolError(wrong, f"Write 'refuse'; or 'count', and under [model] fill = {{ {name} = ... }}.")
        if (one.missing == "count" or one.outside == "missing") and name not in self.fill:
            wrong = f"model.fill.{name}: is missing, and the contract lets values of {name!r} be missing."
            raise ProtocolError(wrong, "State the constant that the model is given in their place, or refuse missing values.")
        if one.missing == "refuse" and one.outside == "refuse" and name in self.fill:
            raise ProtocolError(
                f"model.fill.{name}: the contract refuses missing values of {name!r}.", "Leave it out, or write missing = 'count'."
            )
        if name in self.fill and one.codes is not None and _as_code(self.fill[name]) not in one.codes:
            raise ProtocolError(f"model.fill.{name}: is not a code of {name!r}.", f"Use one of: {', '.join(one.codes)}.")
        if name in self.fill and one.codes is None and isinstance(self.fill[name], str):
            raise ProtocolError(f"model.fill.{name}: {name!r} is a number.", "Write a number, without quotes.")

    def ready(self) -> None:
        """Refuse where onnx or onnxruntime is not installed."""
        need_onnx()

    def columns(self, protocol: Protocol) -> tuple[str, ...]:
        """Return the columns, with units."""
        return tuple(_worded(one, protocol.contract) for one in self._columns(protocol.contract))

    def check(self, protocol: Protocol, data: bytes) -> None:
        """Hold the file's inputs and outputs against the plan, and open it as a hospital will."""
        signature = inspect(data, protocol.model.file)
        self._ends(protocol, signature)
        opens(signature.file, protocol.model.file)

    def scores(self, protocol: Protocol, data: bytes, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Return raw scores; a probability of 0 or 1 lies in the outermost bins."""
        signature = inspect(data, protocol.model.file)
        takes, gives = self._ends(protocol, signature)
        if not len(rows):
            return np.zeros((0, protocol.outputs))
        wide = run(signature.file, takes.name, gives.name, self.table(protocol.contract, dataset, rows).astype(takes.kind))
        if not bool(np.all(np.isfinite(wide))):
            raise DataError(
                "The model gives numbers that are not finite.", "Look for values that it was not made for; narrow the contract's ranges."
            )
        outputs = protocol.outputs
        if self.gives == "logit":
            return _of_width(wide, (outputs,))
        if bool(np.any(wide < -_SLACK)) or bool(np.any(wide > 1 + _SLACK)):
            raise DataError(
                "The model gives numbers below 0 or above 1, which are no probabilities.", "Write gives = 'logit', or name another output."
            )
        wide = np.clip(_of_width(wide, (1, 2) if outputs == 1 else (outputs,)), 0.0, 1.0)
        positive = wide[:, -1:]
        return protocol.question_plugin.score(np.concatenate([1 - positive, positive], axis=1) if outputs == 1 else wide)

    def table(self, contract: Contract, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Return what the model is given, float64 [N, F].

        Raises:
            DataError: a value is missing that nobody says how to fill.
        """
        columns = []
        for one in self._columns(contract):
            values, codes = dataset.columns[one.field][rows], contract.fields[one.field].codes
            absent = np.isnan(values) if codes is None else values < 0
            if bool(np.any(absent)) and one.field not in self.fill:
                raise DataError(f"{one.field}: is missing in some rows, and the plan does not say what the model is given.", "Complete it.")
            if codes is None:
                columns.append(np.where(absent, float(self.fill.get(one.field, 0.0)), values))
                continue
            place = np.where(absent, codes.index(_as_code(self.fill[one.field])) if one.field in self.fill else 0, values).astype(np.int64)
            told = np.array([float(code) for code in codes]) if one.code is None else np.array([float(code == one.code) for code in codes])
            columns.append(told[place])
        return np.stack(columns, axis=1)

    def _columns(self, contract: Contract) -> list[Column]:
        """Return the columns.

        Raises:
            ProtocolError: one names no field, or no code of it.
        """
        found = []
        for name in self.inputs:
            own, _, code = (name, "", "") if name in contract.fields else name.partition("=")
            if own not in contract.inputs:
                raise ProtocolError(f"model.inputs: {name!r} is no input of the contract.", nearest(own, contract.inputs))
            codes = contract.fields[own].codes
            if code and (codes is None or code not in codes):
                known = f"Use one of: {', '.join(codes)}." if codes else f"{own!r} is a number; write its name alone."
                raise ProtocolError(f"model.inputs: {name!r} names no code of {own!r}.", known)
            if not code and codes is not None and not all(map(_is_number, codes)):
                raise ProtocolError(
                    f"model.inputs: the codes of {own!r} are no numbers.", f"Write {own}={codes[-1]} for a column that is 1 there."
                )
            found.append(Column(name, own, code or None))
        if len(set(self.inputs)) < len(self.inputs):
            raise ProtocolError("model.inputs: names a column twice.", "Leave out the second.")
        return found

    def _ends(self, protocol: Protocol, signature: Signature) -> tuple[Tensor, Tensor]:
        """Return the input and the output that the plan means.

        Raises:
            ProtocolError: they are not there, or not of the shape that the plan needs.
        """
        name, width = protocol.model.file, len(self.inputs)
        takes = _named(signature.inputs, self.takes, "takes", "input", name)
        if len(signature.inputs) > 1:
            listed = ", ".join(map(str, signature.inputs))
            raise ProtocolError(
                f"model.file: {name} has {len(signature.inputs)} inputs: {listed}.", "Export it with one input of all columns."
            )
        if takes.kind not in ("float32", "float64") or takes.shape is None or len(takes.shape) != 2:
            raise ProtocolError(
                f"model.file: the input {takes} of {name} is no table of numbers.", "Export it with a float input [any, columns]."
            )
        if takes.shape[0] is not None:
            raise ProtocolError(
                f"model.file: the input {takes} of {name} takes exactly {takes.shape[0]} rows.", "Export it with a free first axis."
            )
        if takes.shape[1] not in (None, width):
            raise ProtocolError(f"model.inputs: names {width} columns, and the input of {name} is {takes}.", "Name them all, in its order.")
        real = tuple(one for one in signature.outputs if one.kind in ("float32", "float64"))
        gives = _named(signature.outputs if self.output else real, self.output, "output", "output", name, signature.outputs)
        if gives.kind not in ("float32", "float64"):
            remedy = "Name an output of numbers; scikit-learn models: export with zipmap = False."
            raise ProtocolError(f"model.output: {gives} of {name} is no tensor of floating-point numbers.", remedy)
        return takes, gives


def _named(known: tuple[Tensor, ...], name: str, key: str, what: str, file: str, listed: tuple[Tensor, ...] | None = None) -> Tensor:
    """Return the tensor of this name, or the only one where the plan names none."""
    has = ", ".join(map(str, known if listed is None else listed)) or "none"
    if not name and len(known) == 1:
        return known[0]
    if not name:
        remedy = f"Name one: {key} = ..." if known else "Export it with an output of numbers; scikit-learn models: zipmap = False."
        raise ProtocolError(f"model.{key}: is not named, and {file} has these {what}s: {has}.", remedy)
    for one in known:
        if one.name == name:
            return one
    raise ProtocolError(f"model.{key}: {what} {name!r} is not there; {file} has: {has}.", nearest(name, [one.name for one in known]))


def _of_width(values: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
    if values.shape[1] not in widths:
        wanted = " or ".join(map(str, widths))
        raise DataError(
            f"The model gives {values.shape[1]} numbers a row, and this question needs {wanted}.", "Name another output, or question."
        )
    return values


def _worded(column: Column, contract: Contract) -> str:
    one = contract.fields[column.field]
    if one.codes is None:
        return f"{column.name} in {one.unit}" if one.unit != "1" else column.name
    return f"{column.name} (1 or 0)" if column.code else column.name


def _as_code(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _is_number(code: str) -> bool:
    try:
        return bool(np.isfinite(float(code)))
    except ValueError:
        return False
