"""Score rows with a finished model, which comes as a file whose digest stands in the signed plan.

Two kinds of file: `model.safetensors` as a study of ours releases it (the plan names the kind of model, the file brings parameters and
normalisation), and kinds that hold their structure too, such as ONNX (`Finished`; one file in `models/` and one entry point each). The file
travels as bytes, so that what every site tests is that file and nothing else.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from wardround.learning.inputs import input_names, scaled
from wardround.learning.norm import normalised
from wardround.study.arrays import Arrays, arrays_digest, from_bytes, under
from wardround.study.canonical import digest
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError, VerificationError
from wardround.study.interfaces import Model
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream

if TYPE_CHECKING:
    from torch import nn

FILE = "file"
"""Name of the array, uint8 [bytes], in which the file stands."""

MOST_BYTES = 64 * 2**20
_ANOTHER = "Name the file that was meant to be tested; a site tests only what its protocol names by digest."


class Finished(Model):
    """Describe a model whose file holds its structure too."""

    finished = True

    def build(self, inputs: tuple[int, ...], outputs: int) -> nn.Module:
        """Refuse.

        Raises:
            ProtocolError: always; such a model cannot be trained.
        """
        raise ProtocolError("model.kind: this model comes finished and cannot be trained.", 'Test it: kind = "evaluation" at the top.')

    @abstractmethod
    def fits(self, protocol: Protocol) -> None:
        """Refuse options that do not fit contract and question.

        Raises:
            ProtocolError: names the key.
        """

    @abstractmethod
    def check(self, protocol: Protocol, data: bytes) -> None:
        """Look into the file, without running it, and refuse what is not what the plan says.

        Raises:
            ProtocolError: says what is wrong with the file.
        """

    @abstractmethod
    def ready(self) -> None:
        """Refuse where what runs such a file is not installed.

        Raises:
            MissingExtra: names what to install.
        """

    @abstractmethod
    def columns(self, protocol: Protocol) -> tuple[str, ...]:
        """Return what the model is given, in order, in words."""

    @abstractmethod
    def scores(self, protocol: Protocol, data: bytes, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
        """Return float64 [N, outputs] raw scores of these rows, as the question takes them; runs in the worker.

        Raises:
            DataError: the model does not give what the plan says.
        """


def as_arrays(data: bytes) -> dict[str, np.ndarray]:
    """Return a file as the arrays by which it travels."""
    return {FILE: np.frombuffer(data, dtype=np.uint8)}


def file_of(arrays: Arrays) -> bytes:
    """Return the file in arrays.

    Raises:
        VerificationError: there is none.
    """
    if FILE not in arrays or arrays[FILE].dtype != np.uint8 or arrays[FILE].ndim != 1:
        raise VerificationError("No model's file is among the parameters.", _ANOTHER)
    return arrays[FILE].tobytes()


def file_digest(arrays: Arrays) -> str:
    """Return the digest of the file itself, as `sha256sum` prints it."""
    return digest(file_of(arrays))


def digests(protocol: Protocol, initial: Arrays) -> dict[str, str]:
    """Return what stands in a protocol of its initial parameters: their digest, and that of the file that they are in or came from."""
    file = {"file": file_digest(initial)} if protocol.evaluates else {}
    start = {"start": arrays_digest(protocol.checkpoint)} if protocol.model.start else {}
    return {"model": arrays_digest(initial), **file, **start}


def agreed_file(protocol: Protocol, arrays: Arrays) -> bytes:
    """Return the file, if it is the one that stands in the protocol.

    Raises:
        VerificationError: it is another one, or too large. Both digests are looked at: that of the arrays, and that of the file, which is
            the one that people compare, sign and pass on.
    """
    same = digests(protocol, {FILE: arrays[FILE]}) if protocol.evaluates and FILE in arrays else {}
    if not same or any(protocol.initial.get(name) != value for name, value in same.items()):
        raise VerificationError("The model that was sent is not the one in the protocol.", "Report this to the coordinating centre.")
    data = file_of(arrays)
    if len(data) > MOST_BYTES:
        raise VerificationError(f"The model's file has more than {MOST_BYTES >> 20} MB.", "Ask the coordinating centre for a smaller one.")
    return data


def check_file(protocol: Protocol, data: bytes) -> None:
    """Refuse a file that is not the model of the plan, without running it.

    Raises:
        ProtocolError: names what is wrong.
    """
    if len(data) > MOST_BYTES:
        raise ProtocolError(f"model.file: {protocol.model.file} has more than {MOST_BYTES >> 20} MB.", "Export a smaller one.")
    model = protocol.model_plugin
    if isinstance(model, Finished):
        model.check(protocol, data)
        return
    parameters, norm = _parameters(protocol, data)
    _network(protocol, parameters)
    for name in ("mean", "deviation"):
        if not bool(np.all(np.isfinite(norm[name]))) or bool(np.any(norm["deviation"] <= 0)):
            raise ProtocolError(f"model.file: norm/{name} in {protocol.model.file} is not usable.", "Take the file that a study released.")


def inputs_of(protocol: Protocol) -> tuple[str, ...]:
    """Return what the model is given, in order."""
    model = protocol.model_plugin
    return model.columns(protocol) if isinstance(model, Finished) else tuple(input_names(protocol.contract))


def scores_of(protocol: Protocol, data: bytes, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    """Return float64 [N, outputs] raw scores of some of a site's rows; in a rehearsal made-up ones, since nobody has approved the file yet.

    Args:
        protocol: names the kind of model.
        data: the file.
        dataset: the site's snapshot.
        rows: int64 [N], row numbers.
    """
    model = protocol.model_plugin
    if protocol.rehearsal:
        if isinstance(model, Finished):
            model.ready()
        return Stream.public(0).generator("made-up scores").normal(size=(len(rows), protocol.outputs))
    if isinstance(model, Finished):
        return model.scores(protocol, data, dataset, rows)
    from wardround.learning.network import scores

    parameters, norm = _parameters(protocol, data)
    some = {name: dataset.columns[name][rows] for name in protocol.contract.inputs}
    return scores(_network(protocol, parameters), normalised(scaled(protocol.contract, some), norm))


def _parameters(protocol: Protocol, data: bytes) -> tuple[Arrays, Arrays]:
    """Return parameters and normalisation in a file that a study of ours released.

    Raises:
        ProtocolError: it is no such file.
    """
    name, remedy = protocol.model.file, "Take model.safetensors from the results folder of the study that trained the model."
    try:
        arrays = from_bytes(data)
    except VerificationError as error:
        raise ProtocolError(f"model.file: {name} is not a safetensors file.", remedy) from error
    parameters, norm = under(arrays, "params"), under(arrays, "norm")
    width = (len(input_names(protocol.contract)),)
    if not parameters or set(norm) != {"mean", "deviation"}:
        raise ProtocolError(f"model.file: {name} does not hold params/... with norm/mean and norm/deviation.", remedy)
    if any(value.shape != width for value in norm.values()):
        found = norm["mean"].shape[0] if norm["mean"].ndim else 0
        listed = ", ".join(input_names(protocol.contract))
        message = f"model.file: {name} takes {found} columns, and this contract gives {width[0]}: {listed}."
        raise ProtocolError(message, "Write the contract that the model was trained with.")
    if not all(bool(np.all(np.isfinite(value))) for value in arrays.values() if value.dtype.kind == "f"):
        raise ProtocolError(f"model.file: {name} holds numbers that are not finite.", remedy)
    return parameters, norm


def _network(protocol: Protocol, parameters: Arrays) -> nn.Module:
    """Return the plan's network with the file's parameters.

    Raises:
        ProtocolError: they do not fit it.
    """
    from wardround.learning.network import fill, need_torch, new_network

    need_torch()
    network = new_network(protocol)
    try:
        fill(network, parameters)
    except (RuntimeError, TypeError) as error:
        own = ", ".join(f"{name} {list(value.shape)}" for name, value in network.state_dict().items())
        remedy = f"The plan's model has: {own}. Write kind and options of [model] as in the study that trained it."
        raise ProtocolError(f"model.file: the parameters in {protocol.model.file} are not those of this model.", remedy) from error
    return network
