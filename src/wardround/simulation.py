"""Run a whole study on this machine: the Python entrance, and what `wardround simulate` and `wardround demo` call.

Each site's data goes through the same loader, worker and gate as in a hospital. What a simulation may do beyond that (train on pooled
data, show every site's results) happens here, outside the protocol, and is marked so.

Example:
    >>> study = load_study("study.toml")  # doctest: +SKIP
    >>> simulate(study, ["north/site.toml", "south/site.toml"], out="run")  # doctest: +SKIP
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wardround.coordinator import events
from wardround.coordinator.store import Store, sentence, sentences
from wardround.publish import WRITTEN
from wardround.study.arrays import from_bytes
from wardround.study.errors import ProtocolError, StoreError, VerificationError
from wardround.study.interfaces import Model, Rule
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol

if TYPE_CHECKING:
    from torch import nn

    from wardround.data.site_file import SiteFile

STATE = "state.sqlite"
MOST_WORKERS = 256


@dataclass(frozen=True)
class Study:
    """Hold a study that was read and checked.

    Attributes:
        protocol: the plan.
        path: of its file, or None.
    """

    protocol: Protocol
    path: Path | None = None


@dataclass(frozen=True)
class Result:
    """Hold a finished study.

    Attributes:
        folder: holds result.json, model.safetensors, report.html and record/.
        result: contents of result.json.
    """

    folder: Path
    result: Mapping[str, Any] = field(repr=False)

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Return the metrics by model, of all patients and by site."""
        return dict(self.result["metrics"])

    def _repr_html_(self) -> str:
        from wardround.pages.notebook import result_card

        card: str = result_card(self.result, self.folder)
        return card


def load_study(path: str | Path) -> Study:
    """Read and check a `study.toml`.

    Raises:
        ProtocolError: the file is wrong; every fault is listed with line, key and remedy.
    """
    protocol = read_protocol(_text(Path(path)), str(path))
    protocol = _with_checkpoint(protocol, Path(path)) if protocol.model.start else protocol
    return Study(_with_file(protocol, Path(path)) if protocol.evaluates else protocol, Path(path))


def from_module(module: nn.Module) -> Model:
    """Return an own `nn.Module` as a study's model; in process only, marked "unregistered code" in the record.

    Args:
        module: maps float32 [B, inputs] to [B, outputs]; its parameters are where training starts.
    """
    from wardround.learning.models.own import Own

    if not hasattr(module, "state_dict"):
        raise ProtocolError("from_module takes a torch.nn.Module.", "Give the module itself, with its parameters.")
    return Own(module)


def simulate(
    study: Study | Protocol | str | Path,
    sites: Sequence[str | Path | SiteFile],
    out: str | Path,
    *,
    aggregator: Rule | None = None,
    model: Model | None = None,
    workers: int = 0,
    watch: events.Watch = events.nobody,
    replicates: bool = False,
) -> Result:
    """Run a study with all sites on this machine; go on where an interrupted run stopped.

    Args:
        study: a study, its protocol, or the path of `study.toml`.
        sites: site files, read or as paths.
        out: folder for results; made if it is not there. A folder belongs to one protocol and one state of the data.
        aggregator: an own rule in place of the mean (unregistered code, in process only).
        model: an own model from `from_module` (unregistered code, in process only).
        workers: worker processes; 0 trains in this one.
        watch: is told what happens.
        replicates: judge under bootstrap weights that all such runs have in common, and keep every metric under each of them in
            `replicates.safetensors`, so that runs can be compared patient by patient; `sweep` does.

    Raises:
        ProtocolError: study or site files are wrong.
        DataError: a site's data does not meet the contract; all findings are listed.
        StoreError: the folder belongs to another study or to other data, or cannot be written.
        QuorumNotMet: too few sites answered; the same command goes on.
    """
    from wardround.simulated import SimulatedStudy

    if not isinstance(study, Study | Protocol):
        study = load_study(study)
    protocol = study.protocol if isinstance(study, Study) else study.complete()
    if not 0 <= workers <= MOST_WORKERS:
        raise ProtocolError(f"{workers} worker processes are not possible.", f"Use 0 to {MOST_WORKERS}; more than cores gain nothing.")
    folder = Path(out)
    with sentences():
        folder.mkdir(parents=True, exist_ok=True)
        _own_folder(folder)
    store = Store(folder / STATE)
    try:
        simulated = SimulatedStudy(protocol, list(sites), folder, store, aggregator, model, workers, watch, replicates)
        return Result(folder, simulated.run())
    except sqlite3.DatabaseError as error:  # what does not fit into memory is written before the commit
        raise sentence(error) from error
    finally:
        store.close()


def _own_folder(folder: Path) -> None:
    """Refuse a folder that holds what a study would write over, without the state that says it is this study's own."""
    taken = [name for name in (*WRITTEN, "record.new", "record.old", "snapshots") if (folder / name).exists()]
    if taken and not (folder / STATE).exists():
        message = f"{folder} holds {', '.join(taken)} and no state of a study that could go on."
        raise StoreError(message, "Choose an empty folder; what lies there is left as it is.")


def _with_file(protocol: Protocol, study: Path) -> Protocol:
    """Return the plan of an evaluation study with the model's file, which lies beside the study file and was looked into.

    Raises:
        ProtocolError: the file is not there, or not what the plan says.
    """
    from wardround.learning.finished import as_arrays, check_file

    data = _beside(study, protocol.model.file, "file")
    check_file(protocol, data)
    return protocol.bringing(as_arrays(data))


def _with_checkpoint(protocol: Protocol, study: Path) -> Protocol:
    """Return the plan with the parameters to start from, whose file lies beside the study file.

    Raises:
        ProtocolError: the file is not there, or holds no parameters.
    """
    try:
        return protocol.bringing(from_bytes(_beside(study, protocol.model.start, "start")), "start")
    except VerificationError as error:
        remedy = "Write them with safetensors.torch.save_file, or name the model.safetensors of an earlier study."
        raise ProtocolError(f"model.start: {protocol.model.start} holds no parameters in the form of safetensors.", remedy) from error


def _beside(study: Path, name: str, key: str) -> bytes:
    """Return a file that lies beside the study file."""
    path = study.parent / name
    try:
        return path.read_bytes()
    except OSError as error:
        remedy = f"It lies beside the study file, under the name that model.{key} gives."
        raise ProtocolError(f"model.{key}: {path} cannot be read ({error.strerror}).", remedy) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ProtocolError(
            f"{path} cannot be read ({error.strerror}).", "Give the path of a file that exists; 'wardround study new' writes one."
        ) from error
    except UnicodeDecodeError as error:
        raise ProtocolError(f"{path} is not UTF-8 text.", "Save it as UTF-8.") from error
