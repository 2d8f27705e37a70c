"""Keep a simulated study's metrics under every bootstrap weight, so that models of different runs can be compared patient by patient.

A site's bootstrap weights are private and keyed by what was asked, hence different in every run: rightly so, since known weights give
single patients' scores away. In a simulation all patients are on this machine. There the same models are judged once more, after the study
and outside its record, under weights that depend on the site's name alone. Two runs whose test patients are the same then pair.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from wardround.coordinator.store import sentences
from wardround.learning.evaluation import all_sites, replicated
from wardround.study.arrays import Arrays, from_bytes, to_bytes, under
from wardround.study.dataset import Dataset
from wardround.study.errors import StoreError
from wardround.study.interfaces import Algorithm
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Ask, SiteWork

FILE = "replicates.safetensors"


def shared_weights(work: Mapping[str, SiteWork]) -> dict[str, SiteWork]:
    """Return the sites' work with streams that every run of a simulation has in common."""
    return {site: SiteWork(one.data, one.mine, Stream.public(0).child("paired bootstrap", site)) for site, one in work.items()}


def judged_again(algorithm: Algorithm, ask: Ask, work: Mapping[str, SiteWork]) -> dict[str, Arrays]:
    """Return by site what the evaluation keeps there, under the weights of these streams."""
    return {site: algorithm.answer(ask, one.data, one.mine, one.rng)[1] or {} for site, one in work.items()}


def write_replicates(folder: Path, protocol: Protocol, sums: Mapping[str, Mapping[str, Arrays]], data: Mapping[str, Dataset]) -> None:
    """Write every metric of every model, of all patients and by site: the value first, then one for each replicate.

    Args:
        folder: of the run.
        protocol: the plan.
        sums: by model and site.
        data: by site, to tell which patients were tested.
    """
    found: dict[str, np.ndarray] = {}
    for model, parts in sums.items():
        if not parts:
            continue
        for name, value in replicated(protocol, all_sites(parts.values())).items():
            found[f"all/{model}/{name}"] = np.atleast_1d(np.asarray(value, dtype=np.float64))
        for site, part in parts.items():
            for name, value in replicated(protocol, part).items():
                found[f"sites/{site}/{model}/{name}"] = np.atleast_1d(np.asarray(value, dtype=np.float64))
            found[f"tally/{site}"] = np.asarray(part["patients"], dtype=np.int64)
    for site, one in data.items():
        found[f"tested/{site}"] = _tested(protocol, one)
    with sentences():
        (folder / FILE).write_bytes(to_bytes(found))


def _tested(protocol: Protocol, data: Dataset) -> np.ndarray:
    """Return what tells one set of test patients from another, uint8 [32]."""
    rows = data.rows("test")
    target = protocol.question_plugin.target(protocol.contract, data.columns)[rows]
    parts = (data.patient[rows].astype("<i8").tobytes(), np.ascontiguousarray(target).tobytes())
    return np.frombuffer(hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).digest(), dtype=np.uint8)


def read_replicates(folder: Path) -> dict[str, np.ndarray]:
    """Return what a run kept; see `write_replicates`.

    Raises:
        StoreError: it is not there.
    """
    try:
        return dict(from_bytes((folder / FILE).read_bytes()))
    except OSError as error:
        message = f"{folder / FILE} cannot be read ({error.strerror})."
        raise StoreError(message, "Remove this run's folder and run it again.") from error


def of(kept: Arrays, model: str, site: str | None = None) -> dict[str, np.ndarray]:
    """Return by metric the [1 + R] values of a model at one site, or of all patients; empty where there are none."""
    return under(kept, f"all/{model}" if site is None else f"sites/{site}/{model}")


def models_of(kept: Arrays) -> tuple[str, ...]:
    """Return the names of the models that a run judged."""
    return tuple(dict.fromkeys(name.split("/")[1] for name in kept if name.startswith("all/")))


def sites_of(kept: Arrays) -> tuple[str, ...]:
    """Return the names of a run's sites."""
    return tuple(sorted(name.removeprefix("tested/") for name in kept if name.startswith("tested/")))
