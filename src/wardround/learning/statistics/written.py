"""Write the tables of a study of statistics: by phase, with the sites that took part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wardround.learning.statistics.statistic import TOOK_PART, Statistic
from wardround.study.protocol import Protocol
from wardround.study.task import Done


def tables(
    protocol: Protocol, earlier: Mapping[str, Done], sites: Iterable[str], refusals: Iterable[Mapping[str, Any]], named: bool = False
) -> dict[str, Any]:
    """Return each phase's table by name; empty in a study that trains.

    Args:
        protocol: the signed plan.
        earlier: results of the phases.
        sites: that take part in the study.
        refusals: who was not in a round; a site that missed one of a phase's rounds is not named among those that took part in all.
        named: whether single sites may be named where a phase compares them, whatever the plan lets hospitals see; in a simulation.
    """
    absent: dict[str, set[str]] = {}
    for one in refusals:
        absent.setdefault(str(one["phase"]), set()).add(str(one["site"]))
    listed, found = sorted(sites), {}
    for algorithm in protocol.algorithms:
        if isinstance(algorithm, Statistic):
            phase, results = algorithm.phase, earlier[algorithm.phase].results
            took_part = [site for site in listed if site not in absent.get(phase, ())]
            kind = next(one.kind for one in protocol.phases if one.name == phase)
            told = algorithm.told(results) if named else algorithm.shared(results)
            found[phase] = {"kind": kind, "sites": took_part, "of_sites": int(results[TOOK_PART]), **told}
    return found
