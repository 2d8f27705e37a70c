"""Put together what a study came to: `result.json`, whose keys are stable."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wardround.learning.algorithms.evaluate import phase_of_kind
from wardround.learning.evaluation import Difference, Estimate, all_sites, difference, replicated, verdicts
from wardround.study.arrays import Arrays, under
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol
from wardround.study.task import Done

SMALL = 10
"""Counts of patients under this are not shown for a single site."""


@dataclass(frozen=True)
class SiteFacts:
    """Hold what a result says about one site's data."""

    data: Dataset
    snapshot: Path
    source: str


def outcome(
    protocol: Protocol,
    facts: Mapping[str, SiteFacts],
    earlier: Mapping[str, Done],
    sums: Mapping[str, Mapping[str, Arrays]],
    history: list[dict[str, Any]],
    refusals: list[dict[str, Any]],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Return the contents of `result.json`.

    Args:
        protocol: the signed plan.
        facts: by site.
        earlier: results of the phases.
        sums: by model and site: `test/...` and `validation/...`.
        history: one row a round.
        refusals: who was not in a round, and why.
        seconds: wall time by part.
    """
    released = released_phase(protocol, earlier)
    rounds, stopped = training(released, earlier)
    judged = _judged(protocol, facts, sums)
    return {
        "study": protocol.study,
        "title": protocol.question.title,
        "purpose": protocol.question.purpose,
        "question": protocol.question.kind,
        "protocol_digest": protocol.digest,
        "simulation": True,
        "synthetic": any(one.source == "synthetic" for one in facts.values()),
        "unit": "patient" if protocol.contract.patient is not None else "image",
        "sites": {site: _site(protocol, one) for site, one in sorted(facts.items())},
        "rounds": rounds,
        "stopped": stopped,
        "primary": protocol.evaluation.metrics[0],
        "margin": protocol.evaluation.margin,
        **judged,
        "history": [{**row, "kept": _kept(row, earlier)} for row in history],
        "refusals": refusals,
        "privacy": {"unit": "patient", "epsilon": None, "delta": None, "secure_sum": False},
        "chosen": _chosen(protocol, earlier),
        "unregistered": list(protocol.unregistered),
        "model": "model.safetensors" if released is not None else None,
        "model_digest": released.digest if released is not None else None,
        "seconds": dict(seconds),
        "machine": machine(),
        "software": importlib.metadata.version("wardround"),
    }


def released_phase(protocol: Protocol, earlier: Mapping[str, Done]) -> Done | None:
    """Return the last phase that made a model, if there is one."""
    return next((earlier[one.phase] for one in reversed(protocol.algorithms) if earlier[one.phase].model is not None), None)


def training(released: Done | None, earlier: Mapping[str, Done]) -> tuple[int, str]:
    """Return after how many rounds training of the released model ended, and why.

    For a choice without refit, those of the chosen candidate.
    """
    if released is None:
        return 0, "rounds"
    chosen = released
    if "choice" in released.results:
        chosen = earlier[f"{released.phase}.{int(released.results['choice'])}"]
    return int(released.results["trained_rounds"]), chosen.stopped


def _judged(protocol: Protocol, facts: Mapping[str, SiteFacts], sums: Mapping[str, Mapping[str, Arrays]]) -> dict[str, Any]:
    """Return metrics by model, paired differences and verdicts."""
    values = {model: {site: replicated(protocol, one) for site, one in parts.items()} for model, parts in sums.items()}
    for model, parts in sums.items():
        values[model][""] = replicated(protocol, all_sites(parts.values()))
    metrics = {
        model: _shown({site: {name: Estimate.of(one) for name, one in found.items()} for site, found in parts.items()})
        for model, parts in values.items()
    }
    paired = {}
    for model in (name for name in values if name != "federated"):
        both = {
            site: {n: Estimate.of(values["federated"][site][n] - one) for n, one in found.items()} for site, found in values[model].items()
        }
        paired[model] = _shown(both)
    found: dict[str, str] = {}
    if "local" in values:
        differences = {}
        for site in sorted(sums["local"]):
            patients = len(np.unique(facts[site].data.patient[facts[site].data.rows("test")]))
            test = under(sums["federated"][site], "test")
            differences[site] = difference(
                protocol.question_plugin, protocol.evaluation.metrics[0], values["federated"][site], values["local"][site], test, patients
            )
        found = verdicts(differences, protocol.evaluation.margin)
        notes = {site: _note(found[site], one) for site, one in differences.items()}
        return {"metrics": metrics, "paired": paired, "verdicts": found, "verdict_notes": notes}
    return {"metrics": metrics, "paired": paired, "verdicts": found, "verdict_notes": {}}


def _shown(parts: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Any]:
    plain = {site: {name: asdict(one) for name, one in found.items()} for site, found in parts.items()}
    return {"all": plain.pop(""), "sites": plain}


def _note(verdict: str, one: Difference) -> str:
    if verdict == "cannot_say" and not one.enough:
        return "too few test patients to say: fewer than 30, or fewer than 5 of a class"
    return {
        "gains": "better than the site's own model, after Holm's correction",
        "no_worse": "no worse than the margin, after Holm's correction",
        "loses": "worse than the site's own model, after Holm's correction",
        "cannot_say": "the interval is too wide to say",
    }[verdict]


def _site(protocol: Protocol, facts: SiteFacts) -> dict[str, Any]:
    data = facts.data

    def small(count: int) -> int | str:
        return count if count >= SMALL or count == 0 else f"<{SMALL}"

    by_role = {role: small(len(np.unique(data.patient[data.rows(role)]))) for role in ("train", "validation", "test")}
    label = data.columns[protocol.contract.label]
    share: float | None = None
    if protocol.question.kind == "binary":
        positive = protocol.question_plugin.target(protocol.contract, data.columns)
        if SMALL <= int(np.sum(positive)) <= len(label) - SMALL:
            share = round(float(np.mean(positive)), 3)
    size = sum(path.stat().st_size for path in facts.snapshot.iterdir())
    return {
        "patients": small(data.patients),
        "examples": small(len(data)),
        **by_role,
        "positive_share": share,
        "snapshot_bytes": size,
        "source": facts.source,
    }


def _kept(row: Mapping[str, Any], earlier: Mapping[str, Done]) -> bool:
    done = earlier.get(str(row["phase"]))
    return done is not None and "scores" in done.results and int(done.results["kept_round"]) == row["round"]


def _chosen(protocol: Protocol, earlier: Mapping[str, Done]) -> dict[str, Any]:
    """Return which of the tuning grid's settings validation chose."""
    trained = phase_of_kind(protocol, "fedavg")
    if trained is None or "choice" not in earlier[trained].results:
        return {}
    options = protocol.algorithm(f"{trained}.{int(earlier[trained].results['choice'])}").options
    return {name: getattr(options, name) for name in protocol.evaluation.tune}


def machine() -> dict[str, Any]:
    """Return what a figure was measured on."""
    versions = {}
    for name in ("numpy", "torch", "polars"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **versions,
    }
