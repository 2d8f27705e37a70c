"""Normalise inputs by mean and deviation: those of all sites, or a site's own. Training patients only, always.

A label that is a number stands behind the inputs: a network learns it in units of its deviation.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from wardround.learning.combat import harmonised
from wardround.learning.inputs import measured, measured_rows, predicts_number, scaled_label
from wardround.learning.pictures import channel_sums
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Contract, Protocol
from wardround.study.task import Done

SMALLEST = 1e-6  # a column that varies less than this, relative to the contract's range, is left as it is


HARMONISED = "combat/level"
"""Stands in a normalisation whose inputs are harmonised first."""


def moment_sums(protocol: Protocol, data: Dataset, norm: Arrays = MappingProxyType({})) -> dict[str, np.ndarray]:
    """Return count, sum and sum of squares of each input over a site's training rows, float64 [F]; missing values count nowhere.

    Args:
        protocol: names the inputs.
        data: the site's snapshot.
        norm: with what harmonises the inputs, where they are to be harmonised first.
    """
    if protocol.contract.image is not None:
        return _of_pictures(protocol.contract, data)
    z = measured_rows(protocol.contract, data)
    if HARMONISED in norm:
        own = harmonised(protocol, data, norm)
        z = np.column_stack([own, z[:, own.shape[1] :]])
    z = z[data.rows("train")]
    known = ~np.isnan(z)
    filled = np.where(known, z, 0.0)
    return {"present": np.sum(known, axis=0), "sum": np.sum(filled, axis=0), "squares": np.sum(filled * filled, axis=0)}


def _of_pictures(contract: Contract, data: Dataset) -> dict[str, np.ndarray]:
    """Return the same of an image, by channel over all pixels, and of a label that is a number; worked out once a snapshot."""
    if "moments" not in data.cache:
        rows = data.rows("train")
        sums = channel_sums(contract, data, rows)
        if predicts_number(contract):
            label = scaled_label(contract, data)[rows]
            further = {"present": float(len(rows)), "sum": np.sum(label), "squares": np.sum(label * label)}
            sums = {name: np.append(value, further[name]) for name, value in sums.items()}
        data.cache["moments"] = np.stack([sums[name] for name in ("present", "sum", "squares")])
    return dict(zip(("present", "sum", "squares"), data.cache["moments"], strict=True))


def mean_and_deviation(sums: Arrays) -> dict[str, np.ndarray]:
    """Return `mean` and `deviation` of each input from `moment_sums`; 0 and 1 where nothing is known or nothing varies."""
    present = np.where(sums["present"] > 0, sums["present"], 1).astype(np.float64)
    mean = sums["sum"] / present
    variance = np.maximum(sums["squares"] / present - mean * mean, 0.0)
    deviation = np.sqrt(variance)
    return {"mean": mean, "deviation": np.where(deviation > SMALLEST, deviation, 1.0)}


def normalised(z: np.ndarray, norm: Arrays) -> np.ndarray:
    """Return float32 [N, F]: (z - mean) / deviation, and 0 (the mean) where missing.

    Args:
        z: float64 [N, F], from `inputs.scaled`.
        norm: "mean" and "deviation", float64 [F], or longer where the label stands last.
    """
    x = (z - norm["mean"][: z.shape[1]]) / norm["deviation"][: z.shape[1]]
    return np.where(np.isnan(x), 0.0, x).astype(np.float32)


def no_norm(protocol: Protocol) -> dict[str, np.ndarray]:
    """Return the normalisation that changes nothing: inputs stay scaled by the contract's ranges."""
    columns = measured(protocol.contract)
    return {"mean": np.zeros(columns), "deviation": np.ones(columns)}


def own_norm(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return what a site alone normalises by: its own training rows, or nothing where the protocol says "none"."""
    return no_norm(protocol) if protocol.model.normalise == "none" else mean_and_deviation(moment_sums(protocol, data))


def need_moments(protocol: Protocol, phase: str) -> None:
    """Refuse a phase that needs federated normalisation before there is any.

    Raises:
        ProtocolError: `model.normalise` is "federated" and no moments phase comes before, or "combat" and no phase of that kind.
    """
    given = protocol.giving("norm", before=phase)
    kind = next((one.kind for one in protocol.phases if one.name == given), None)
    if protocol.model.normalise == "combat" and kind != "combat":
        remedy = "Put a phase of kind 'combat' before it, after any other that normalises."
        raise ProtocolError(f"phases.{phase}: model.normalise = 'combat' needs inputs that are harmonised first.", remedy)
    if protocol.model.normalise == "federated" and given is None:
        remedy = "Put a phase of kind 'moments' before it (or, for images, 'intensities'), or set model.normalise to 'site' or 'none'."
        raise ProtocolError(f"phases.{phase}: model.normalise = 'federated' needs the moments of the inputs first.", remedy)


def shared_norm(protocol: Protocol, phase: str, earlier: Mapping[str, Done]) -> dict[str, np.ndarray]:
    """Return the normalisation that all sites share in a phase: federated moments, or none (also where each site uses its own)."""
    found = protocol.giving("norm", before=phase) if protocol.model.normalise in ("federated", "combat") else None
    return no_norm(protocol) if found is None else dict(earlier[found].results)


def norm_here(protocol: Protocol, shared: Arrays, data: Dataset) -> Arrays:
    """Return the normalisation to use at this site: its own where the protocol says so, else the shared one."""
    return own_norm(protocol, data) if protocol.model.normalise == "site" else shared
