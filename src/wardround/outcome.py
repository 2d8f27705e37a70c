"""Put together what a study came to: `result.json`, whose keys are stable."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from wardround import passport, preflight
from wardround.data.snapshot import told_size
from wardround.learning.evaluation import Estimate, Verdict, all_sites, difference, replicated, used_model, verdicts
from wardround.learning.own import MODELS, PAIRED, as_received, blinded, less, own_figures, pairs, shown, side_by_side, without
from wardround.learning.statistics.written import tables
from wardround.privacy.disclosure import held_totals
from wardround.record.commitment import commit
from wardround.record.entries import band, decode
from wardround.study.arrays import Arrays, under
from wardround.study.canonical import canonical, digest
from wardround.study.dataset import ROLES, Dataset
from wardround.study.errors import VerificationError, WardroundError
from wardround.study.plugins import find, names
from wardround.study.protocol import Protocol
from wardround.study.task import Done

_OF_A_MODEL = ("question", "lower_is_better", "primary", "margin", "chosen", "paired", "verdicts", "verdict_notes")
"""Keys of a result that a study of statistics has no use for."""

WITHHELD = "withheld"
SMALL = 10
"""Counts of patients under this are not shown for a single site."""


@dataclass(frozen=True)
class SiteFacts:
    """Hold what a result says about one site's data."""

    data: Dataset
    snapshot: Path
    source: str
    synthetic: bool


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
    own: dict[str, Any] = {
        "simulation": True,
        "site_results": "open",
        "synthetic": any(one.synthetic for one in facts.values()),
        "warnings": _warnings(protocol, all_sites(sums["federated"].values()) if sums.get("federated") else {}),
        "sites": {site: _site(protocol, one) for site, one in sorted(facts.items())} if protocol.trains else _counted(protocol, facts),
        **(_judged(protocol, facts, sums) if not protocol.evaluates else {}),
    }
    if protocol.evaluates:
        own = passport.with_sites(protocol, {**own, **passport.over_all(protocol, earlier[protocol.phases[0].name].results)}, sums["model"])
    return _result(protocol, earlier, history, refusals, seconds, own)


def federated_outcome(
    protocol: Protocol,
    brought: Mapping[str, Mapping[str, Any]],
    earlier: Mapping[str, Done],
    history: list[dict[str, Any]],
    refusals: list[dict[str, Any]],
    seconds: Mapping[str, float],
    told: Mapping[str, Mapping[str, Any]] = MappingProxyType({}),
) -> dict[str, Any]:
    """Return the same of a study among hospitals: totals, and of single sites what the protocol lets them tell.

    `brought` holds by site the entry of its log that says which data it brought, empty where the site kept its log; `told` the own figures
    that sites sent; all else is as for `outcome`.
    """
    evaluation = protocol.giving("judgement")
    judged = {} if evaluation is None else earlier[evaluation].results
    totals = {model: found for model in MODELS[:3] if (found := under(judged, model))}
    sites = {site: {"patients": entry.get("patients"), "source": entry.get("source")} for site, entry in sorted(brought.items())}
    own = {
        "simulation": False,
        "site_results": protocol.evaluation.site_results,
        "synthetic": any(one["source"] in names("source") and find("source", str(one["source"])).synthetic for one in sites.values()),
        "warnings": _warnings(protocol, totals.get("federated", {})),
        "sites": preflight.unsized(protocol, sites),
        **_judged_in_all(protocol, totals),
        **(passport.over_all(protocol, judged) if protocol.evaluates else {}),
    }
    match protocol.evaluation.site_results if protocol.tells else "own":
        case "open":
            own = _with(own, side_by_side(protocol, told), {site: {"test": one["tested"]} for site, one in told.items() if "tested" in one})
        case "blinded":
            own["blinded"] = blinded(told)
    return _result(protocol, earlier, history, refusals, seconds, own)


def copy_for(protocol: Protocol, released: bytes, site: str, patients: int, kept: Arrays) -> dict[str, Any]:
    """Return a site's own copy of a released result: its own figures beside the totals, and of other sites what the result holds.

    Args:
        protocol: the signed plan.
        released: contents of `result.json` as they came.
        site: whose copy it is.
        patients: in its snapshot.
        kept: what it kept of the evaluation.
    """
    result: dict[str, Any] = json.loads(released)
    if protocol.kind == "statistics":
        return {"released": digest(released), **result, **preflight.own(protocol, result, site, kept), "reader": site}
    if protocol.evaluates:
        return {**result, **passport.own(protocol, result, site, kept), "released": digest(released), "reader": site}
    figures = own_figures(protocol, kept)
    for part, told in protocol.question_plugin.here(result, under(kept, "federated/test")).items():
        result[part] = {**result[part], "sites": {**result[part].get("sites", {}), site: told}}
    own = side_by_side(protocol, {site: figures})
    if protocol.evaluation.site_results == "open":  # all sites' verdicts carry one correction
        own["verdicts"], own["verdict_notes"] = ({**own[name], **result[name]} for name in ("verdicts", "verdict_notes"))
    else:
        for part in (part for part in ("metrics", *PAIRED) if part in result):
            result[part] = {model: {**table, "sites": {}} for model, table in result[part].items()}
    counts = {"patients": _small(patients), "test": _small(figures["tested"])}
    return {"released": digest(released), **_with(result, own, {site: counts}), "reader": site}


def _with(result: Mapping[str, Any], found: Mapping[str, Any], counts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a result with what single sites told beside its totals."""
    parts: dict[str, Any] = {}
    for part in (part for part in ("metrics", *PAIRED) if part in found):
        parts[part] = {model: dict(table) for model, table in result.get(part, {}).items()}
        for model, sites in found[part].items():
            table = parts[part].setdefault(model, {"all": {}})
            table["sites"] = {**table.get("sites", {}), **sites}
    sites = {**result["sites"], **{site: {**result["sites"].get(site, {}), **one} for site, one in counts.items()}}
    return {**result, **parts, "sites": sites, "verdicts": found["verdicts"], "verdict_notes": found["verdict_notes"]}


def data_entry(lines: bytes) -> dict[str, Any]:
    """Return the last entry of a site's log that says which data it brought; nothing where there is none that can be read."""
    return next((entry for entry in reversed(list(_entries(lines))) if entry["t"] == "snapshot"), {})


def figures_told(lines: bytes, results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the own figures that a site sent; where it handed its log over, they must be those that left it according to that.

    Raises:
        VerificationError: they are not, or not well formed.
    """
    found, commitment = as_received(results["figures"]), commit(bytes.fromhex(results["salt"]), canonical(results["figures"]))
    if lines and not any(entry["t"] == "results" and entry["commit"] == commitment for entry in _entries(lines)):
        raise VerificationError("Its own figures are not in its log.", "Ask the hospital to look at its log.")
    return found


def _entries(lines: bytes) -> Iterator[dict[str, Any]]:
    """Yield the entries of a site's log that can be read."""
    for line in lines.splitlines():
        with suppress(WardroundError):
            yield decode(line)


def _result(
    protocol: Protocol,
    earlier: Mapping[str, Done],
    history: list[dict[str, Any]],
    refusals: list[dict[str, Any]],
    seconds: Mapping[str, float],
    own: Mapping[str, Any],
) -> dict[str, Any]:
    released = released_phase(protocol, earlier)
    rounds, stopped = training(released, earlier)
    unit = "patient" if protocol.contract.patient is not None else "image"
    found = {
        **({} if protocol.trains else {"kind": protocol.kind, "smallest_count": protocol.privacy.smallest_count}),
        "study": protocol.study,
        "title": protocol.question.title,
        "purpose": protocol.question.purpose,
        "question": protocol.question.kind,
        "protocol_digest": protocol.digest,
        "unit": unit,
        "lower_is_better": sorted(name for name, sign in protocol.question_plugin.better.items() if sign < 0),
        **({"units": dict(units)} if (units := protocol.question_plugin.units) else {}),
        "rounds": rounds,
        "stopped": stopped,
        **({"rollbacks": rollbacks(released, earlier)} if protocol.stop.rollback is not None else {}),
        "primary": protocol.primary,
        "margin": protocol.evaluation.margin,
        **own,
        **(_tables(protocol, earlier, own, refusals) if protocol.kind == "statistics" else {}),
        "history": [{**row, "kept": _kept(row, earlier), **_undone(row, earlier)} for row in history],
        "refusals": refusals,
        "privacy": {"unit": unit, "epsilon": None, "delta": None, "secure_sum": protocol.hides},
        "chosen": _chosen(protocol, earlier),
        "unregistered": list(protocol.unregistered),
        "model": "model.safetensors" if released is not None else None,
        "model_digest": released.digest if released is not None else None,
        "seconds": dict(seconds),
        "machine": machine(),
        "software": importlib.metadata.version("wardround"),
    }
    return found if protocol.kind != "statistics" else {key: value for key, value in found.items() if key not in _OF_A_MODEL}


def _tables(protocol: Protocol, earlier: Mapping[str, Done], own: Mapping[str, Any], refusals: list[dict[str, Any]]) -> dict[str, Any]:
    return {"statistics": tables(protocol, earlier, own["sites"], refusals, bool(own["simulation"]))}


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


def rollbacks(released: Done | None, earlier: Mapping[str, Done]) -> int:
    """Return how many rounds of the released model's training were undone; for a choice among settings, of the chosen one's."""
    if released is None:
        return 0
    trained = earlier[f"{released.phase}.{int(released.results['choice'])}"] if "choice" in released.results else released
    return int(np.sum(trained.results["undone"])) if "undone" in trained.results else 0


def _judged(protocol: Protocol, sites: Iterable[str], sums: Mapping[str, Mapping[str, Arrays]]) -> dict[str, Any]:
    """Return metrics by model, paired differences and verdicts; a comparison is over the sites that have both models."""
    values = {model: {site: replicated(protocol, one) for site, one in parts.items()} for model, parts in sums.items()}
    metrics = {model: _shown(values[model], replicated(protocol, all_sites(sums[model].values()))) for model in values if values[model]}
    paired: dict[str, Any] = {"paired": {}}
    for part, one, other in pairs(metrics):
        both = sorted(values[one].keys() & values[other].keys())
        totals = [replicated(protocol, all_sites(sums[name][site] for site in both)) for name in (one, other)]
        apart = {site: less(values[one][site], values[other][site]) for site in both}
        paired.setdefault(part, {})[other] = _shown(apart, less(*totals))
    found, used = dict[str, Verdict](), used_model(protocol)
    if "local" in metrics and used in metrics:
        differences = {
            site: difference(protocol, values[used][site], values["local"][site], sums["federated"][site]["patients"])
            for site in values["local"]
            if site in values[used]
        }
        found = {site: without(site in values["local"] and site not in values[used]) for site in sites}
        found.update(verdicts(differences, protocol.evaluation.margin, few=protocol.question_plugin.few))
    words = {site: one.word for site, one in sorted(found.items())}
    tested = sums.get("federated", {})
    return {
        **(protocol.question_plugin.further(all_sites(tested.values()), tested) if tested else {}),
        "metrics": metrics,
        **paired,
        **({"verdict_of": used} if used in metrics else {}),
        "verdicts": words,
        "verdict_notes": {site: one.note for site, one in sorted(found.items())},
    }


def _judged_in_all(protocol: Protocol, totals: Mapping[str, Arrays]) -> dict[str, Any]:
    """Return metrics over all sites alone; paired where both models were tested on the same patients."""
    values = {model: replicated(protocol, total) for model, total in totals.items()}
    paired: dict[str, Any] = {"paired": {}}
    for part, one, other in pairs(values):
        if np.array_equal(totals[one]["patients"], totals[other]["patients"]):
            paired.setdefault(part, {})[other] = _shown({}, less(values[one], values[other]))
    metrics = {model: _shown({}, one) for model, one in values.items()}
    further = protocol.question_plugin.further(totals["federated"], {}) if "federated" in totals else {}
    judged = {"verdict_of": used} if (used := used_model(protocol)) in metrics else {}
    return {**further, "metrics": metrics, **paired, **judged, "verdicts": {}, "verdict_notes": {}}


def _warnings(protocol: Protocol, total: Arrays) -> list[str]:
    """Return what a reader must know before anything else: whether the model is better than guessing at all."""
    if not total:
        return []
    chance = protocol.question_plugin.chance(under(total, "test"))[protocol.primary]
    gain = protocol.direction * (np.atleast_1d(replicated(protocol, total)[protocol.primary]) - chance)
    low = Estimate.of(gain).low
    if low is not None and low > 0:
        return []
    name = protocol.primary.replace("_", " ")
    return [f"The federated model is not shown to be better than guessing: by guessing, {name} would be {chance:.3f} on these test rows."]


def _shown(parts: Mapping[str, Mapping[str, np.ndarray]], total: Mapping[str, np.ndarray]) -> dict[str, Any]:
    return {"all": shown(total), "sites": {site: shown(found) for site, found in parts.items()}}


def _site(protocol: Protocol, facts: SiteFacts) -> dict[str, Any]:
    data = facts.data
    count = {role: len(np.unique(data.patient[data.rows(role)])) for role in ROLES}
    contract, shares = protocol.contract, dict[str, Any]()
    if contract.labels:
        answers = protocol.question_plugin.target(contract, data.columns)
        shares = {"positive_shares": {name: _share(one[one >= 0]) for name, one in zip(contract.labels, answers.T, strict=True)}}
    elif contract.fields[contract.label].codes is not None and protocol.outputs == 1:
        shares = {"positive_share": _share(protocol.question_plugin.target(contract, data.columns))}
    about = {"positive_share": None, **shares, **told_size(data, facts.snapshot), "source": facts.source}
    return {"patients": _small(data.patients), "examples": _small(len(data)), **_apart(count), **about}


def _share(positive: np.ndarray) -> float | None:
    """Return the share of ones among zeros and ones; None where it would tell of fewer than ten of either."""
    return round(float(np.mean(positive)), 3) if SMALL <= int(np.sum(positive)) <= len(positive) - SMALL else None


def _counted(protocol: Protocol, facts: Mapping[str, SiteFacts]) -> dict[str, Any]:
    """Return by site what a study of statistics says of it: where a site has fewer than k patients, others are withheld with it.

    Their sum stands in the tables. The size of a withheld site's snapshot would tell its rows and is left out too.
    """
    names = sorted(facts)
    hidden = held_totals(np.array([facts[site].data.patients for site in names]), protocol.privacy.smallest_count)
    found: dict[str, Any] = {}
    for site, hide in zip(names, hidden, strict=True):
        one = facts[site]
        size = sum(path.stat().st_size for path in one.snapshot.iterdir())
        counts = {"patients": one.data.patients, "examples": len(one.data), "snapshot_bytes": size}
        found[site] = {**({"patients": WITHHELD, "examples": WITHHELD} if hide else counts), "source": one.source}
    return found


def _small(count: int) -> int | str:
    return count if count >= SMALL or count == 0 else f"<{SMALL}"


def _apart(count: Mapping[str, int]) -> dict[str, int | str]:
    """Return counts of parts whose total is known: with one small part hidden the next is told as a band, or the total would tell."""
    shown: dict[str, int | str] = {name: _small(one) for name, one in count.items()}
    hidden = [name for name, one in shown.items() if isinstance(one, str)]
    if len(hidden) == 1:
        rest = sorted((one, name) for name, one in count.items() if name not in hidden and one > 0)
        if rest:
            shown[rest[0][1]] = band(rest[0][0])
    return shown


def _kept(row: Mapping[str, Any], earlier: Mapping[str, Done]) -> bool:
    done = earlier.get(str(row["phase"]))
    return done is not None and "scores" in done.results and int(done.results["kept_round"]) == row["round"]


def _undone(row: Mapping[str, Any], earlier: Mapping[str, Done]) -> dict[str, bool]:
    """Return whether a round was undone; nothing of a phase in which none can be."""
    done = earlier.get(str(row["phase"]))
    return {"rolled_back": bool(done.results["undone"][row["round"]])} if done is not None and "undone" in done.results else {}


def _chosen(protocol: Protocol, earlier: Mapping[str, Done]) -> dict[str, Any]:
    """Return which of the tuning grid's settings validation chose."""
    trained = protocol.giving("model")
    if trained is None or "choice" not in earlier[trained].results:
        return {}
    options = protocol.by_phase[f"{trained}.{int(earlier[trained].results['choice'])}"].options
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
