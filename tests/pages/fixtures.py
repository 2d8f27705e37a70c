"""Results as a study would write them, for the tests of the pages: five sites, forty, one, and next to nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

DIGEST = "sha256:" + "0123456789abcdef" * 4
METRICS = {"auroc": 0.93, "auprc": 0.9, "accuracy": 0.88, "sensitivity": 0.81, "brier": 0.09, "calibration_error": 0.031}
LOWER = {"brier", "calibration_error"}
SHIFT = {"federated": 0.0, "local": -0.022, "pooled": 0.003, "ensemble": -0.009, "best_single": -0.041}


def cell(value: float, width: float) -> dict[str, float]:
    return {"value": value, "low": value - width, "high": min(value + 1.05 * width, 1.0)}


def metrics_of(model: str, width: float, shift: float = 0.0) -> dict[str, dict[str, float]]:
    moved = SHIFT[model] + shift
    return {name: cell(base + (-0.5 * moved if name in LOWER else moved), width) for name, base in METRICS.items()}


def study(sites: dict[str, tuple[Any, float, float, str]], title: str, rounds: int = 24) -> dict[str, Any]:
    """Return a whole result from sites: patients, federated minus local, half width, verdict."""
    rng = np.random.default_rng(7)
    gaps = {name: {"auroc": cell(gap, width)} for name, (_, gap, width, _) in sites.items()}
    scores = 0.936 - 0.27 * np.exp(-np.arange(rounds + 1) / 4) + rng.normal(0, 0.0022, rounds + 1)
    history: list[dict[str, Any]] = [
        {"phase": "moments", "round": 0, "bytes_up": 960 * len(sites), "bytes_down": 200 * len(sites), "seconds": 0.02}
    ]
    for candidate, speed in enumerate((0.6, 1.0, 0.35)):
        for round_ in range(rounds + 1):
            score = float(0.62 + (scores[round_] - 0.62) * (1 if speed == 1 else 0.96 * (1 - np.exp(-(round_ + 1) * speed / 3))))
            history.append(
                {
                    "phase": f"train.{candidate}",
                    "round": round_,
                    "auroc": score,
                    "kept": False,
                    "bytes_up": 5200 * len(sites),
                    "bytes_down": 900,
                    "seconds": 0.1,
                }
            )
    for phase in ("train.0", "train.1", "train.2"):
        max((row for row in history if row["phase"] == phase), key=lambda row: row["auroc"])["kept"] = True
    history.append({"phase": "evaluate", "round": 0, "bytes_up": 410_000 * len(sites), "bytes_down": 900, "seconds": 0.4})
    return {
        "study": "breast-cytology",
        "title": title,
        "purpose": "Tell malignant from benign cells in fine-needle aspirates, from thirty measurements of the cell nuclei.",
        "question": "binary",
        "primary": "auroc",
        "margin": 0.02,
        "unit": "patient",
        "warnings": [],
        "lower_is_better": sorted(LOWER),
        "protocol_digest": DIGEST,
        "sites": {name: about_site(patients) for name, (patients, _, _, _) in sites.items()},
        "rounds": rounds,
        "stopped": "patience",
        "metrics": {
            model: {
                "all": metrics_of(model, 0.012),
                "sites": {
                    name: metrics_of("federated", width, gap / 3 - (gap if model == "local" else 0.0) + SHIFT[model] * (model != "local"))
                    for name, (_, gap, width, _) in sites.items()
                },
            }
            for model in SHIFT
        },
        "paired": {
            "local": {"all": {"auroc": cell(0.022, 0.011)}, "sites": gaps},
            "pooled": {"all": {"auroc": cell(-0.003, 0.005)}, "sites": {}},
            "ensemble": {"all": {"auroc": cell(0.009, 0.006)}, "sites": {}},
            "best_single": {"all": {"auroc": cell(0.041, 0.014)}, "sites": {}},
        },
        "verdicts": {name: verdict for name, (_, _, _, verdict) in sites.items()},
        "verdict_notes": {name: note(verdict, patients) for name, (patients, _, _, verdict) in sites.items()},
        "history": history,
        "refusals": [],
        "chosen": {"learning_rate": 0.1, "local_epochs": 2},
        "privacy": {"unit": "patient", "epsilon": None, "delta": None, "secure_sum": False},
        "model": "model.safetensors",
        "model_digest": DIGEST,
        "seconds": {"preparation": 1.24, "federated": 8.13, "comparators": 21.9, "total": 31.27},
        "machine": {"processor": "x86_64", "cores": 8, "system": "Linux", "python": "3.11", "torch": "2.13.0"},
        "software": "0.1.0",
        "synthetic": False,
        "simulation": True,
        "unregistered": [],
    }


def about_site(patients: Any) -> dict[str, Any]:
    if not isinstance(patients, int):
        return {
            "patients": patients,
            "examples": patients,
            "train": "<10",
            "validation": "<10",
            "test": "<10",
            "positive_share": None,
            "snapshot_bytes": 2100,
        }
    test, validation = patients // 4, patients // 6
    parts = {"train": patients - test - validation, "validation": validation, "test": test}
    return {"patients": patients, "examples": patients, **parts, "positive_share": 0.37, "snapshot_bytes": patients * 250}


def note(verdict: str, patients: Any) -> str:
    if verdict == "cannot_say":
        few = not isinstance(patients, int) or patients < 120
        return "too few test patients to say: fewer than 30, or fewer than 5 of a class" if few else "the evidence does not settle it"
    claim = {
        "gains": "better than the site's own model",
        "no_worse": "worse by no more than the margin",
        "loses": "worse than the site's own model",
    }[verdict]
    return f"{claim}: one-sided p = 0.004 after Holm's correction over 4 sites"


def five_sites() -> dict[str, Any]:
    sites: dict[str, tuple[Any, float, float, str]] = {
        "Aachen": (164, 0.034, 0.019, "gains"),
        "Basel": (212, 0.004, 0.013, "no_worse"),
        "Charleroi": (131, 0.051, 0.031, "gains"),
        "Dresden": (146, -0.027, 0.018, "loses"),
        "Eindhoven": (41, 0.062, 0.094, "cannot_say"),
    }
    return study(sites, "Malignant or benign? Breast cytology at five hospitals")


def forty_sites() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    sites: dict[str, tuple[Any, float, float, str]] = {}
    for index in range(40):
        patients: Any = int(rng.integers(60, 900)) if index % 9 else ("<10" if index % 2 else 44)
        width = 0.32 / np.sqrt(patients if isinstance(patients, int) else 8)
        gap = float(rng.normal(0.014, 0.02))
        clear = "gains" if gap > width else "loses" if gap < -width else "no_worse" if gap - width > -0.02 else "cannot_say"
        sites[f"hospital-{index + 1:02d}"] = (
            patients,
            gap,
            float(width),
            clear if isinstance(patients, int) and patients > 120 else "cannot_say",
        )
    result = study(sites, "Readmission within thirty days at forty hospitals", rounds=60)
    result["synthetic"] = True
    result["refusals"] = [
        {
            "phase": "train.1",
            "round": n,
            "site": "hospital-12",
            "where": "deadline",
            "reason": "No answer within 60 s.",
            "remedy": "Look at its machine.",
        }
        for n in (3, 4, 5, 9)
    ]
    return result


def one_site() -> dict[str, Any]:
    result = study({"Aachen": (96, 0.01, 0.04, "cannot_say")}, "One hospital alone", rounds=3)
    result["paired"]["local"]["all"] = result["paired"]["local"]["sites"]["Aachen"]
    for model in ("pooled", "ensemble", "best_single"):
        del result["metrics"][model], result["paired"][model]
    return result


def no_better_than_guessing() -> dict[str, Any]:
    """Return two sites without patient ids whose model learnt nothing, and of whose parts one is given as a band."""
    sites: dict[str, tuple[Any, float, float, str]] = {"north": (61, 0.002, 0.11, "cannot_say"), "south": (240, -0.004, 0.06, "cannot_say")}
    result = study(sites, "Anything to learn here?", rounds=3)
    result["sites"]["north"].update({"train": 40, "validation": "<10", "test": "10-49"})
    result["unit"] = result["privacy"]["unit"] = "image"
    result["warnings"] = [
        "The federated model is not shown to be better than guessing: by guessing, auroc would be 0.500 on these test rows."
    ]
    return result


def several_rows() -> dict[str, Any]:
    """Return two sites whose patients have three rows each."""
    result = study({"north": (120, 0.02, 0.01, "gains"), "south": (240, 0.01, 0.03, "no_worse")}, "Hourly rows of two wards", rounds=5)
    for site in result["sites"].values():
        site["examples"] = 3 * site["patients"]
    return result


def trained_only() -> dict[str, Any]:
    """Return a study of training phases alone: a model, but no test, so no metrics and no verdicts."""
    result = five_sites()
    result["history"] = [row for row in result["history"] if row["phase"] != "evaluate"]
    return {**result, "metrics": {}, "paired": {}, "verdicts": {}, "verdict_notes": {}}


def counted_only() -> dict[str, Any]:
    """Return a study of statistics alone: no model, no primary metric."""
    result = trained_only()
    del result["primary"]
    history = [row for row in result["history"] if row["phase"] == "moments"]
    return {**result, "history": history, "rounds": 0, "stopped": "rounds", "model": None, "model_digest": None, "chosen": {}}


def totals_only() -> dict[str, Any]:
    """Return what a study among hospitals publishes: totals alone, patients as bands, nothing of one site; Basel kept its log."""
    result = five_sites()
    bands = {"Aachen": "100-199", "Basel": None, "Charleroi": "100-199", "Dresden": "100-199", "Eindhoven": "<10"}
    return {
        **result,
        "simulation": False,
        "site_results": "own",
        "sites": {site: {"patients": band, "source": None if band is None else "table"} for site, band in bands.items()},
        "metrics": {model: {"all": result["metrics"][model]["all"], "sites": {}} for model in ("federated", "local")},
        "paired": {"local": {"all": result["paired"]["local"]["all"], "sites": {}}},
        "verdicts": {},
        "verdict_notes": {},
    }


def bare() -> dict[str, Any]:
    """Return the least that a result may hold: no verdicts, no metrics with a value, no history."""
    nothing = {"auroc": {"value": None, "low": None, "high": None}}
    return {
        "study": "bare",
        "protocol_digest": DIGEST,
        "sites": {"Aachen": {"patients": "<10", "examples": "<10"}, "Basel": {"patients": 0, "examples": 0}},
        "rounds": 0,
        "stopped": "quorum",
        "metrics": {"federated": {"all": nothing, "sites": {"Aachen": nothing}}},
        "verdicts": {},
        "history": [],
        "privacy": {"unit": "patient", "epsilon": None, "delta": None, "secure_sum": False},
        "model": "model.safetensors",
        "model_digest": DIGEST,
        "seconds": {},
    }


PROTOCOL: dict[str, Any] = {
    "version": 1,
    "study": "breast-cytology",
    "parties": {
        "coordinator": "University hospital, coordinating centre",
        "legal_basis": "GDPR Art. 9(2)(j)",
        "ethics": "EK 2026/117",
        "expires": None,
    },
    "privacy": {"mode": "none", "counts": True},
    "stop": {"target": None, "patience": 6, "keep": "best"},
    "evaluation": {"refit": False, "specificity": 0.9},
}


def write_folder(folder: Path, result: dict[str, Any]) -> Path:
    """Write a results folder with a record whose messages are those of the result's history."""
    (folder / "result.json").write_text(json.dumps(result))
    logs: dict[str, list[dict[str, Any]]] = {site: [{"v": 1, "t": "snapshot"}, {"v": 1, "t": "approval"}] for site in result["sites"]}
    coordinator: list[dict[str, Any]] = [{"v": 1, "t": "protocol"}, *({"v": 1, "t": "join", "site": site} for site in logs)]
    absent = {(one["phase"], one["round"], one["site"]): one for one in result.get("refusals", [])}
    for row in result["history"]:
        where = {"phase": row["phase"], "round": row["round"], "attempt": 0}
        coordinator.append({"v": 1, "t": "round_open", **where})
        for site, log in logs.items():
            if (row["phase"], row["round"], site) in absent:
                coordinator.append({"v": 1, "t": "refusal", "attempt": 0, **absent[row["phase"], row["round"], site]})
            else:
                log.append({"v": 1, "t": "egress", **where, "kind": "sums", "bytes": row["bytes_up"] // len(logs)})
        coordinator.append({"v": 1, "t": "round_close", **where})
        if row is [one for one in result["history"] if one["phase"] == row["phase"]][-1]:
            coordinator.append({"v": 1, "t": "phase_done", "phase": row["phase"]})
            if row["phase"] == "train.2":  # the choice among the settings that were tried, which asks nobody
                coordinator.append({"v": 1, "t": "phase_done", "phase": "train"})
    if "Dresden" in logs:
        coordinator.append(
            {"v": 1, "t": "refusal", "site": "Dresden", "phase": "train.1", "round": 7, "attempt": 0, "where": "admit", **NAN}
        )
    record = folder / "record"
    (record / "layouts").mkdir(parents=True)
    (record / "protocol.json").write_text(json.dumps(PROTOCOL))
    for place, entries in {"study": coordinator, **{f"sites/{site}": log for site, log in logs.items()}}.items():
        (record / place).mkdir(parents=True)
        (record / place / "entries.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
        (record / place / "checkpoint").write_text("")
        (record / place / "vkey").write_text("")
    return folder


NAN = {"reason": "A value in update/layer.weight is not finite.", "remedy": "Look at the site's learning rate and data ranges."}


def three_models() -> dict[str, Any]:
    """Return five sites whose personalised models are judged: better than the federated one by 0.01 everywhere."""
    found = five_sites()
    tables: dict[str, Any] = {"all": metrics_of("federated", 0.012, 0.01), "sites": {}}
    for site, cells in found["metrics"]["federated"]["sites"].items():
        tables["sites"][site] = {name: cell(one["value"] + (-0.005 if name in LOWER else 0.01), 0.02) for name, one in cells.items()}
    names = ("federated", "personalised", "local", "ensemble", "best_single", "pooled")
    metrics = {**found["metrics"], "personalised": tables}
    gaps = {
        site: {"auroc": {end: value + 0.01 for end, value in one["auroc"].items()}}
        for site, one in found["paired"]["local"]["sites"].items()
    }
    less = {"all": {"auroc": cell(-0.01, 0.004)}, "sites": {site: {"auroc": cell(-0.01, 0.008)} for site in gaps}}
    return {
        **found,
        "metrics": {name: metrics[name] for name in names},
        "paired": {"personalised": less, **found["paired"]},
        "paired_personalised": {"local": {"all": {"auroc": cell(0.032, 0.011)}, "sites": gaps}},
        "verdict_of": "personalised",
    }
