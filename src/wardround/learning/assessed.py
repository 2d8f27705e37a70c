"""Turn the sums of a test into what a passport says: discrimination, calibration, decision curve, subgroups, and a verdict against the bar.

Sums in, numbers out, numpy only, so that the coordinator works out the totals and each hospital its own. Everything shown of the scores
follows from one division of them, whose cells hold 0 or at least k patients of each class; edges that would make a smaller cell are left
out.

Source: Van Calster et al., Calibration: the Achilles heel of predictive analytics, BMC Medicine 2019 (intercept and slope); Vickers and
Elkin, Decision curve analysis, Med. Decis. Making 2006 (net benefit); DESIGN section 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from wardround.learning.algorithms.assess import HELD, MODEL, Assess, hidden_groups, small
from wardround.learning.evaluation import LEAST, Claim, Difference, Estimate, Verdict, replicated, verdicts
from wardround.learning.questions.curves import BINS, MIDDLES, REACH, ratio
from wardround.study.arrays import Arrays, under
from wardround.study.protocol import Protocol

WITHHELD = "withheld"
_WIDTH = 2 * REACH / BINS
_LOGITS = -REACH + (np.arange(BINS) + 0.5) * _WIDTH
_STEPS = 60
AGAINST_BAR: tuple[Claim, ...] = (Claim("meets", "better than the bar", 1, 0.0), Claim("misses", "worse than the bar", -1, 0.0))


def figures(protocol: Protocol, sums: Arrays) -> dict[str, Any]:
    """Return what the sums of one site, or of all, come to, as JSON values; small counts are no longer in it.

    Args:
        protocol: the signed plan.
        sums: of the phase: `model/...` and `groups/...`.
    """
    least, whole = protocol.privacy.smallest_count, under(sums, MODEL)
    if small(np.rint(whole["patients"]).astype(np.int64), least):
        return {"patients": WITHHELD, "note": f"fewer than {least} patients were tested, in all or of a class, so nothing is told"}
    values = measured(protocol, whole)
    found = {
        "patients": _tally(protocol, whole),
        "metrics": {name: asdict(Estimate.of(one)) for name, one in values.items()},
        "subgroups": _subgroups(protocol, sums),
    }
    if protocol.outputs == 1:
        found.update(_binary(algorithm(protocol), under(whole, "test"), least))
    return found


def algorithm(protocol: Protocol) -> Assess:
    """Return the study's only phase."""
    (found,) = protocol.algorithms
    assert isinstance(found, Assess)
    return found


def measured(protocol: Protocol, sums: Arrays) -> dict[str, np.ndarray]:
    """Return every metric as [1 + R] values; those that count errors at probability one half only where no small count follows."""
    values = {name: np.atleast_1d(one) for name, one in replicated(protocol, sums).items()}
    if _open_at_half(under(sums, "test"), protocol.privacy.smallest_count):
        return values
    return {name: one for name, one in values.items() if name not in ("accuracy", "balanced_accuracy")}


def _open_at_half(sums: Arrays, least: int) -> bool:
    """Say whether the numbers of right and of wrong answers of each class, at probability one half, are 0 or at least k."""
    if "confusions" in sums:
        table = sums["confusions"] if sums["confusions"].ndim == 2 else sums["confusions"][0]
        right = np.diagonal(table)
        return _fine(np.concatenate([right, np.sum(table, axis=1) - right]), least)
    hist = _plain(sums["histogram"])
    return _fine(hist[:, : BINS // 2].sum(axis=1), least) and _fine(hist[:, BINS // 2 :].sum(axis=1), least)


def _plain(hist: np.ndarray) -> np.ndarray:
    """Return the histogram [2, 256] without its replicates."""
    return hist if hist.ndim == 2 else hist[0]


def _fine(counts: np.ndarray, least: int) -> bool:
    return bool(np.all((counts == 0) | (counts >= least)))


def _tally(protocol: Protocol, sums: Arrays) -> dict[str, Any]:
    """Return patients in all and by class."""
    counts = [round(float(one)) for one in sums["patients"]]
    codes = protocol.contract.fields[protocol.contract.label].codes or ()
    positive = protocol.question.options.get("positive") or codes[-1]
    order = codes if protocol.outputs > 1 else (*(code for code in codes if code != positive), positive)
    return {"all": counts[0], "by_class": dict(zip(order, counts[1:], strict=True))}


def _subgroups(protocol: Protocol, sums: Arrays) -> list[dict[str, Any]]:
    """Return each subgroup with its metrics, or why it has none."""
    phase, least = algorithm(protocol), protocol.privacy.smallest_count
    parts = [under(sums, f"groups/{place}") for place in range(len(phase.groups))]
    hidden = hidden_groups(phase.groups, [np.rint(one["patients"]).astype(np.int64) for one in parts], least)
    held = sums.get(HELD, np.zeros(1 + len(parts)))[1:]
    found = []
    for place, (group, part) in enumerate(zip(phase.groups, parts, strict=True)):
        one: dict[str, Any] = group.label(protocol.contract)
        if hidden[place] or (held[place] and not part["patients"][0]):
            one |= {"patients": WITHHELD, "note": f"fewer than {least} patients, or withheld so that others do not give such a number away"}
        elif not part["patients"][0]:
            one |= {"patients": 0, "note": "no patient is in this subgroup"}
        else:
            metrics = {name: asdict(Estimate.of(values)) for name, values in measured(protocol, part).items()}
            few = not protocol.question_plugin.enough(part["patients"])
            tally = _tally(protocol, part)
            one |= {
                "patients": tally["all"],
                "by_class": tally["by_class"],
                "metrics": metrics,
                **({"note": "too few patients for a claim: under 30, or 5 of a class"} if few else {}),
            }
        found.append({**one, **({"held_back_at": round(float(held[place]))} if held[place] else {})})
    return found


def _binary(phase: Assess, sums: Arrays, least: int) -> dict[str, Any]:
    """Return calibration and decision curve of a yes-or-no question."""
    hist = sums["histogram"] if sums["histogram"].ndim == 3 else sums["histogram"][None]
    edges = division(hist[0], phase.options.thresholds, least)
    cells = [(low, high) for low, high in zip((0, *edges), (*edges, BINS), strict=True)]
    slope, intercept = recalibrated(hist)
    expected, observed = np.sum(hist * MIDDLES, axis=(1, 2)), np.sum(hist[:, 1], axis=1)
    calibration = {
        "groups": [_cell(hist[0], low, high) for low, high in cells],
        "slope": asdict(Estimate.of(slope)),
        "intercept": asdict(Estimate.of(intercept)),
        "observed_over_expected": asdict(Estimate.of(ratio(observed.astype(np.float64), expected))),
    }
    return {"calibration": calibration, "decision": [_benefit(hist, edge) for edge in edges]}


def bin_at(probability: float) -> int:
    """Return the first bin of scores at and above the edge that is nearest to a probability, 1 to 255."""
    logit = math.log(probability / (1 - probability))
    return min(max(round((logit + REACH) / _WIDTH), 1), BINS - 1)


def probability_at(first: int) -> float:
    """Return the probability at the lower edge of a bin."""
    return 1 / (1 + math.exp(REACH - first * _WIDTH))


def division(hist: np.ndarray, thresholds: tuple[float, ...], least: int) -> list[int]:
    """Return at which bins the scores are divided: those wanted, but where a cell would hold some but fewer than k of a class.

    Args:
        hist: [2, 256].
        thresholds: wanted, as probabilities.
        least: k.
    """
    kept: list[int] = []
    for edge in sorted({bin_at(one) for one in thresholds}):
        cell, rest = hist[:, (kept[-1] if kept else 0) : edge].sum(axis=1), hist[:, edge:].sum(axis=1)
        if _fine(cell, least) and _fine(rest, least):
            kept.append(edge)
    return kept


def _cell(hist: np.ndarray, low: int, high: int) -> dict[str, Any]:
    """Return one line of the table of calibration."""
    negative, positive = (round(float(one)) for one in hist[:, low:high].sum(axis=1))
    count = negative + positive
    ends = {
        "from": probability_at(low) if low else 0.0,
        "to": probability_at(high) if high < BINS else 1.0,
        "count": count,
        "positives": positive,
    }
    if not count:
        return {**ends, "predicted": None, "observed": None, "low": None, "high": None}
    predicted = float(np.sum(hist[:, low:high] * MIDDLES[low:high])) / count
    return {**ends, "predicted": predicted, "observed": positive / count, **_wilson(positive, count)}


def _wilson(positive: int, count: int) -> dict[str, float]:
    """Return the 95 % interval of a share.

    Source: Wilson, J. Am. Stat. Assoc. 1927.
    """
    z = 1.959963984540054
    middle = (positive + z * z / 2) / (count + z * z)
    half = z / (count + z * z) * math.sqrt(positive * (count - positive) / count + z * z / 4)
    return {"low": max(middle - half, 0.0), "high": min(middle + half, 1.0)}


def _benefit(hist: np.ndarray, first: int) -> dict[str, Any]:
    """Return net benefit, per patient, of treating by the model at a threshold, and of treating everybody; treating nobody has 0."""
    threshold = probability_at(first)
    odds, count = threshold / (1 - threshold), np.sum(hist, axis=(1, 2)).astype(np.float64)
    caught, alarms = (np.sum(hist[:, row, first:], axis=1) for row in (1, 0))
    model = ratio(caught - odds * alarms, count)
    everybody = ratio(np.sum(hist[:, 1], axis=1) - odds * np.sum(hist[:, 0], axis=1), count)
    gain = Estimate.of(model - np.maximum(everybody, 0.0))
    return {"threshold": threshold, "model": asdict(Estimate.of(model)), "treat_all": float(everybody[0]), "gain": asdict(gain)}


def recalibrated(hist: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept of calibration as [R] values, NaN where there are none: one class alone, or scores that divide the two.

    The slope is that of a logistic regression of the outcome on the score's logit (1 is perfect, below 1 too extreme); the intercept that
    of one with slope 1 (0 is perfect, below 0 too high).

    Args:
        hist: [R, 2, 256].
    """
    counts, positive = np.sum(hist, axis=1).astype(np.float64), hist[:, 1].astype(np.float64)
    both = (positive.sum(axis=1) > 0) & (positive.sum(axis=1) < counts.sum(axis=1))
    ends = [(np.argmax(one > 0, axis=1), BINS - 1 - np.argmax(one[:, ::-1] > 0, axis=1)) for one in (counts - positive, positive)]
    mixed = (ends[0][1] > ends[1][0]) & (ends[1][1] > ends[0][0])  # else a slope without end fits best
    slope, free = _fitted(counts, positive, np.ones(len(hist)), np.zeros(len(hist)), move=True)
    _, fixed = _fitted(counts, positive, np.ones(len(hist)), np.zeros(len(hist)), move=False)
    slope = np.where(both & mixed & np.isfinite(free) & (np.abs(slope) < 50), slope, np.nan)
    return slope, np.where(both & (np.abs(fixed) < 50), fixed, np.nan)


def _fitted(
    counts: np.ndarray, positive: np.ndarray, slope: np.ndarray, intercept: np.ndarray, *, move: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Return slope and intercept after Newton's steps; the slope stays where it is unless it may move."""
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            p = 1 / (1 + np.exp(-(intercept[:, None] + slope[:, None] * _LOGITS)))
            weight, gap = counts * p * (1 - p), positive - counts * p
            g0, h00 = np.sum(gap, axis=1), np.sum(weight, axis=1)
            if not move:
                step = np.clip(g0 / h00, -2, 2)
                intercept = intercept + step
            else:
                g1, h01, h11 = np.sum(gap * _LOGITS, axis=1), np.sum(weight * _LOGITS, axis=1), np.sum(weight * _LOGITS * _LOGITS, axis=1)
                under_ = h00 * h11 - h01 * h01
                step = np.clip((h00 * g1 - h01 * g0) / under_, -1, 1)
                intercept = intercept + np.clip((h11 * g0 - h01 * g1) / under_, -2, 2)
                slope = slope + step
            if bool(np.all((np.abs(step) < 1e-10) | np.isnan(step))):
                break
    settled = np.abs(step) < 1e-6
    return np.where(settled, slope, np.nan), np.where(settled, intercept, np.nan)


def against_bar(protocol: Protocol, sums: Arrays) -> Difference | None:
    """Return how far the first metric is from the bar, turned so that larger is better; None where the plan states no bar.

    Args:
        protocol: the signed plan.
        sums: of one model: `test/...` and `patients`.
    """
    bar = algorithm(protocol).options.bar
    if bar is None:
        return None
    values = protocol.direction * (np.atleast_1d(replicated(protocol, sums)[protocol.primary]) - bar)
    known = values[1:][~np.isnan(values[1:])]
    enough = protocol.question_plugin.enough(np.rint(sums["patients"]).astype(np.int64))
    if len(known) < LEAST or np.isnan(values[0]):
        return Difference(float(values[0]), math.nan, -math.inf, math.inf, False)
    low, high = np.percentile(known, [2.5, 97.5])
    return Difference(float(values[0]), float(np.std(known)), float(low), float(high), enough)


def judged(protocol: Protocol, apart: Mapping[str, Difference]) -> dict[str, Verdict]:
    """Return a verdict for each, with Holm's correction over those that have enough patients: meets, misses or cannot_say."""
    return verdicts(apart, 0.0, AGAINST_BAR)
