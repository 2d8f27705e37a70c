"""Hand a worker its rows: normalised inputs and targets of the roles that are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wardround.learning.inputs import input_names, no_norm, normalised, scaled_rows
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.task import Done


def moments_phase(protocol: Protocol) -> str | None:
    """Return the name of the protocol's moments phase, if it has one."""
    return next((phase.name for phase in protocol.phases if phase.kind == "moments"), None)


def need_moments(protocol: Protocol, phase: str) -> None:
    """Refuse a phase that needs normalisation before there is any.

    Raises:
        ProtocolError: `model.normalise` asks for moments and no moments phase comes before.
    """
    names = [one.name for one in protocol.phases]
    found = moments_phase(protocol)
    if protocol.model.normalise != "none" and (found is None or names.index(found) > names.index(phase)):
        remedy = "Put a phase of kind 'moments' before it, or set model.normalise = 'none'."
        raise ProtocolError(
            f"phases.{phase}: model.normalise = {protocol.model.normalise!r} needs the moments of the inputs first.", remedy
        )


def shared_norm(protocol: Protocol, earlier: Mapping[str, Done]) -> dict[str, np.ndarray]:
    """Return the normalisation that all sites share: federated moments, or none (also where each site uses its own)."""
    found = moments_phase(protocol)
    if protocol.model.normalise == "federated" and found is not None:
        return dict(earlier[found].results)
    return no_norm(len(input_names(protocol.contract)))


def norm_here(protocol: Protocol, shared: Arrays, mine: Mapping[str, Arrays]) -> Arrays:
    """Return the normalisation to use at this site: its own where the protocol says so, else the shared one."""
    found = moments_phase(protocol)
    return mine[found] if protocol.model.normalise == "site" and found is not None else shared


def inputs_and_targets(protocol: Protocol, data: Dataset, norm: Arrays, *roles: str) -> tuple[np.ndarray, np.ndarray]:
    """Return float32 [N, F] inputs and [N] targets of the rows with these roles."""
    rows = data.rows(*roles)
    key = f"{protocol.question.kind} target"
    if key not in data.cache:
        data.cache[key] = protocol.question_plugin.target(protocol.contract, data.columns)
    return normalised(scaled_rows(protocol.contract, data)[rows], norm), data.cache[key][rows]
