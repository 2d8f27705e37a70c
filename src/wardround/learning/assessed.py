"""Turn the sums of a test into what a passport says: discrimination, calibration, decision curve, subgroups, and a verdict against the bar.

Sums in, numbers out, numpy only, so that the coordinator works out the totals and each hospital its own. All counts of scores that are
shown are of one division of them, whose cells hold 0 or at least k patients of each class; edges that would make a smaller cell are left
out. What is no count is written to three significant places: the exact mean of a few known numbers would tell how often each is in it.

Source: Van Calster et al., Calibration: the Achilles heel of predictive analytics, BMC Medicine 2019 (intercept and slope); Vickers and
Elkin, Decision curve analysis, Med. Decis. Making 2006 (net benefit); DESIGN section 5.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from wardround.learning.algorithms.assess import HELD, MODEL, Assess, hidden_groups, small
from wardround.learning.evaluation import FEW, LEAST, Claim, Difference, Estimate, Verdict, replicated, verdicts
from wardround.learning.questions.curves import BINS, MIDDLES, REACH, ratio
from wardround.study.arrays import Arrays, under
from wardround.study.protocol import Protocol

WITHHELD = "withheld"
_WIDTH = 2 * REACH / BINS
_LOGITS = -REACH + (np.arange(BINS) + 0.5) * _WIDTH
_STEPS = 60
PLACES = 3
"""Significant places of every figure that is not a count."""

MOST_BEYOND = 0.01
"""Largest share of a class whose scores may lie in the outermost bins, which hold all that is further out."""

BEYOND = "more than 1 % of a class has scores beyond 12 logits, which are not told apart"
AT_HALF = ("accuracy", "balanced_accuracy")
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
    values = measured(protocol, whole, _open_at_half(protocol, under(whole, "test")))
    found = {
        "patients": _tally(protocol, whole),
        "metrics": {name: told(one) for name, one in values.items()},
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


def rounded(values: np.ndarray) -> np.ndarray:
    """Return numbers to three significant places.

    Example:
        >>> rounded(np.array([0.81234, 1234.5, np.nan])).tolist()
        [0.812, 1230.0, nan]
    """
    return np.array([float(f"{one:.{PLACES}g}") for one in np.ravel(values)]).reshape(np.shape(values))


def told(values: np.ndarray) -> dict[str, Any]:
    """Return the estimate of [1 + R] values as it is written down."""
    return {name: None if one is None else float(rounded(np.asarray(one))) for name, one in asdict(Estimate.of(values)).items()}


def measured(protocol: Protocol, sums: Arrays, at_half: bool = False) -> dict[str, np.ndarray]:
    """Return every metric as [1 + R] values, rounded; those that count errors at probability one half only where they may be told."""
    values = {name: rounded(np.atleast_1d(one)) for name, one in replicated(protocol, sums).items()}
    return {name: one for name, one in values.items() if at_half or name not in AT_HALF}


def _open_at_half(protocol: Protocol, sums: Arrays) -> bool:
    """Say whether errors at probability one half are of the division that is shown, and so tell no small count.

    With several codes nothing divides the scores; there the right and the wrong answers of each class must be 0 or at least k.
    """
    least = protocol.privacy.smallest_count
    if least <= 1 or "confusions" in sums:
        return _fine(_halves(sums), least)
    return BINS // 2 in division(_plain(sums["histogram"]), algorithm(protocol).options.thresholds, least)


def _halves(sums: Arrays) -> np.ndarray:
    """Return by class the scores on each side of one half; with several codes the right and the wrong answers."""
    if "confusions" in sums:
        table = sums["confusions"] if sums["confusions"].ndim == 2 else sums["confusions"][0]
        right = np.diagonal(table)
        return np.concatenate([right, np.sum(table, axis=1) - right])
    hist = _plain(sums["histogram"])
    return np.concatenate([hist[:, : BINS // 2].sum(axis=1), hist[:, BINS // 2 :].sum(axis=1)])


def beyond(protocol: Protocol, sums: Arrays) -> bool:
    """Say whether so many scores lie beyond what the bins tell apart that figures from them would be false.

    Args:
        protocol: the signed plan.
        sums: of a model: `test/...`.
    """
    hist = under(sums, "test")["histogram"]
    one = hist[0] if hist.ndim > (2 if protocol.outputs == 1 else 3) else hist
    return bool(np.any(one[..., 0] + one[..., -1] > MOST_BEYOND * np.sum(one, axis=-1)))


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
    open_ = _open_fields(protocol, under(sums, MODEL), parts, hidden)
    found = []
    for place, (group, part) in enumerate(zip(phase.groups, parts, strict=True)):
        one: dict[str, Any] = group.label(protocol.contract)
        if hidden[place] or (held[place] and not part["patients"][0]):
            one |= {"patients": WITHHELD, "note": f"fewer than {least} patients, or withheld so that others do not give such a number away"}
        elif not part["patients"][0]:
            one |= {"patients": 0, "note": "no patient is in this subgroup"}
        else:
            metrics = {name: told(values) for name, values in measured(protocol, part, group.field in open_).items()}
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


def _open_fields(protocol: Protocol, whole: Arrays, parts: Sequence[Arrays], hidden: np.ndarray) -> set[str]:
    """Return the fields in whose subgroups errors at one half may be told: all of a field's or none, the hidden ones together included."""
    groups, least, found = algorithm(protocol).groups, protocol.privacy.smallest_count, set()
    for name in dict.fromkeys(one.field for one in groups) if _open_at_half(protocol, under(whole, "test")) else ():
        shown = [_halves(under(parts[place], "test")) for place, one in enumerate(groups) if one.field == name and not hidden[place]]
        rest = _halves(under(whole, "test")) - np.sum(shown, axis=0) if shown else np.zeros(1)
        if all(_fine(one, least) for one in (*shown, rest)):
            found.add(name)
    return found


def _binary(phase: Assess, sums: Arrays, least: int) -> dict[str, Any]:
    """Return calibration and decision curve of a yes-or-no question."""
    hist = sums["histogram"] if sums["histogram"].ndim == 3 else sums["histogram"][None]
    edges = division(hist[0], phase.options.thresholds, least)
    cells = [(low, high) for low, high in zip((0, *edges), (*edges, BINS), strict=True)]
    slope, intercept = recalibrated(hist)
    expected, observed = np.sum(hist * MIDDLES, axis=(1, 2)), np.sum(hist[:, 1], axis=1)
    calibration = {
        "groups": [_cell(hist, low, high) for low, high in cells],
        "slope": told(slope),
        "intercept": told(intercept),
        "observed_over_expected": told(ratio(observed.astype(np.float64), expected)),
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
    """Return one line of the table of calibration: rows, and the share that had the outcome with its interval over the replicates.

    There is no interval where nobody or everybody had the outcome: a bootstrap cannot give one.
    """
    negative, positive = (round(float(one)) for one in hist[0, :, low:high].sum(axis=1))
    count = negative + positive
    ends = {
        "from": probability_at(low) if low else 0.0,
        "to": probability_at(high) if high < BINS else 1.0,
        "count": count,
        "positives": positive,
    }
    if not count:
        return {**ends, "predicted": None, "observed": None, "low": None, "high": None}
    within = hist[:, :, low:high].astype(np.float64)
    rows = within.sum(axis=(1, 2))
    share = told(ratio(within[:, 1].sum(axis=1), rows))
    spread = {name: share[name] if negative and positive else None for name in ("low", "high")}
    return {
        **ends,
        "predicted": told(ratio(np.sum(within * MIDDLES[low:high], axis=(1, 2)), rows))["value"],
        "observed": share["value"],
        **spread,
    }


def _benefit(hist: np.ndarray, first: int) -> dict[str, Any]:
    """Return net benefit, per patient, of treating by the model at a threshold, and of treating everybody; treating nobody has 0."""
    threshold = probability_at(first)
    odds, count = threshold / (1 - threshold), np.sum(hist, axis=(1, 2)).astype(np.float64)
    caught, alarms = (np.sum(hist[:, row, first:], axis=1) for row in (1, 0))
    model = ratio(caught - odds * alarms, count)
    everybody = ratio(np.sum(hist[:, 1], axis=1) - odds * np.sum(hist[:, 0], axis=1), count)
    gain = told(model - np.maximum(everybody, 0.0))
    return {"threshold": threshold, "model": told(model), "treat_all": told(everybody)["value"], "gain": gain}


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
    """Return how far the first metric is from the bar, rounded, turned so that larger is better; None where the plan states no bar.

    Args:
        protocol: the signed plan.
        sums: of one model: `test/...` and `patients`.
    """
    bar = algorithm(protocol).options.bar
    if bar is None:
        return None
    values = protocol.direction * (np.atleast_1d(replicated(protocol, sums)[protocol.primary]) - bar)
    known = values[1:][~np.isnan(values[1:])]
    enough = protocol.question_plugin.enough(np.rint(sums["patients"]).astype(np.int64)) and not beyond(protocol, sums)
    if len(known) < LEAST or np.isnan(values[0]):
        return Difference(float(rounded(values[0])), math.nan, -math.inf, math.inf, False)
    value, deviation, low, high = map(float, rounded(np.array([values[0], np.std(known), *np.percentile(known, [2.5, 97.5])])))
    return Difference(value, deviation, low, high, enough)


def judged(protocol: Protocol, apart: Mapping[str, Difference]) -> dict[str, Verdict]:
    """Return a verdict for each, with Holm's correction over those that have enough patients: meets, misses or cannot_say."""
    return verdicts(apart, 0.0, AGAINST_BAR, f"{FEW}; or {BEYOND}")
