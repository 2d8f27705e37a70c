"""Let each site count once where a sum over sites would let one of them decide.

A hostile site could claim a million patients whom the worst model suits best, and so choose the model, or moments that make all inputs
nothing. A robust rule therefore puts each site's own sums beside the total (`apart/SITE/TERM`), and what is asked of them is asked of each
site. As many of the highest and of the lowest answers as there may be hostile sites are left out, and the rest averaged: so hostile sites
can move it only within what the others say. Whoever cannot say has no vote; where those who can are so few that the hostile ones could be
half of them, nothing is said (NaN).
"""

from __future__ import annotations

import numpy as np

from wardround.learning.norm import SMALLEST
from wardround.study.arrays import Arrays, under
from wardround.study.protocol import Protocol

APART = "apart"


def by_site(sums: Arrays) -> list[Arrays]:
    """Return each site's own sums, in order of name; none where a total does not hold them."""
    return [under(sums, f"{APART}/{site}") for site in sorted({name.split("/")[1] for name in sums if name.startswith(f"{APART}/")})]


def middle(said: np.ndarray, hostile: int) -> np.ndarray:
    """Return the average over sites without the extremes, number by number.

    Source: Yin et al., Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018, definition 2 (trimmed mean).

    Args:
        said: float64 [sites, N]; NaN where a site cannot say.
        hostile: how many sites may be hostile, and so how many answers are left out at each end.

    Example:
        >>> middle(np.array([[1.0, 0.0], [5.0, np.nan], [2.0, np.nan]]), 1)
        array([ 2., nan])
    """
    found = np.full(said.shape[1], np.nan)
    for number, column in enumerate(said.T):
        known = np.sort(column[np.isfinite(column)])
        if len(known) > 2 * hostile:
            kept = known[hostile : len(known) - hostile]
            found[number] = np.sum(kept) / len(kept)
    return found


def voted_score(protocol: Protocol, sums: Arrays) -> float:
    """Return what sites' own validation patients say of the primary metric, each site counting once, without the extremes."""
    question, metric = protocol.question_plugin, protocol.primary
    own = [float(question.finalise(under(one, "validation"), metric)) for one in by_site(sums)]
    return float(middle(np.array(own)[:, None], protocol.rounds.hostile)[0]) if own else float("nan")


def voted_moments(sums: Arrays, hostile: int) -> dict[str, np.ndarray]:
    """Return what sites say of each input's mean and deviation, each counting once, without the extremes.

    Where nothing is said it is 0 and 1: the input stays scaled by the contract's range, as under normalise = "none" (values come in those
    units already). What fewer say is not followed, since the hostile ones could be half of them.

    Args:
        sums: of a total, with `apart/SITE/present`, `.../sum` and `.../squares`, float64 [F] each.
        hostile: how many sites may be hostile.
    """
    means, deviations = [], []
    for one in by_site(sums):
        present = np.where(one["present"] > 0, one["present"], np.nan)
        mean = one["sum"] / present
        means.append(mean)
        deviations.append(np.sqrt(np.maximum(one["squares"] / present - mean * mean, 0.0)))
    mean, deviation = middle(np.array(means), hostile), middle(np.array(deviations), hostile)
    return {"mean": np.where(np.isfinite(mean), mean, 0.0), "deviation": np.where(deviation > SMALLEST, deviation, 1.0)}
