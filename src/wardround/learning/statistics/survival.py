"""Follow patients over time: Kaplan-Meier curves by group and the log-rank test, from counts of events and of ends of observation.

Time is divided into cells of one `step`, each with its right end: 0, then up to one step, and so on; all that happens in a cell counts as
happening at its right end. With a step as fine as the data's own unit (days) the curve is exact. What lies beyond `until` counts as under
observation until then. Numbers at risk stand for the start of a stretch, shares that are left for the time shown, its end.

Source: Kaplan and Meier, Nonparametric estimation from incomplete observations, JASA 1958; Greenwood 1926 (variance), with the interval on
log(-log S), Kalbfleisch and Prentice, The statistical analysis of failure time data, section 1.4; Mantel, Cancer Chemother. Rep. 1966.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.statistics.chances import chi_square_above
from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import HIDDEN, Statistic, number
from wardround.privacy.disclosure import held_totals
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State

NOT_TOLD = "not told"
MOST_CELLS = 100_000
_REACH = 1.959963984540054


@dataclass(frozen=True)
class SurvivalOptions:
    """Say what is followed, and on which grid.

    Attributes:
        time: number field, time from the start to event or end of observation; 0 or more.
        event: code field, whether the event happened.
        happened: the code of `event` that says so.
        step: width of a cell, in the unit of `time`; 1 for days in days.
        until: end of the grid, in the unit of `time`; events later are not counted as such.
        groups: code field by which curves are drawn; none for one curve.
    """

    time: str
    event: str
    happened: str
    step: Annotated[float, Bound(gt=0)] = 1.0
    until: Annotated[float, Bound(gt=0)] | None = None
    groups: str | None = None


@dataclass(frozen=True)
class Survival(Statistic):
    """Count events and ends of observation in each cell of time, by group."""

    Options = SurvivalOptions
    options: SurvivalOptions

    def check(self) -> None:
        """Refuse unknown fields, times below 0, an unknown code and a grid without end."""
        options, where, fields = self.options, f"phases.{self.phase}", self.protocol.contract.fields
        self.named("time", (options.time,), "number")
        self.named("event", (options.event,), "code")
        if options.groups is not None:
            self.named("groups", (options.groups,), "code")
        low, high = fields[options.time].range or (0.0, 0.0)
        if low < 0:
            remedy = f"Let contract.fields.{options.time}.range begin at 0; negative times are then named by the sites' checks."
            raise ProtocolError(f"{where}.time: {options.time!r} may be negative, and time runs from the start.", remedy)
        codes = fields[options.event].codes or ()
        if options.happened not in codes:
            message = f"{where}.happened: {options.happened!r} is not a code of {options.event!r}."
            raise ProtocolError(message, f"Use one of: {', '.join(codes)}.")
        if options.until is None:
            raise ProtocolError(
                f"{where}.until: the grid of time has no end.", f"Write until = {high:g}, or less, in the unit of the time."
            )
        if options.until / options.step > MOST_CELLS:
            raise ProtocolError(f"{where}.step: the grid has more than {MOST_CELLS:,} cells.", "Write a larger step or a smaller until.")

    @property
    def cells(self) -> int:
        """Return how many cells of time there are up to `until`, that of time 0 among them."""
        return math.ceil(round((self.options.until or 0.0) / self.options.step, 9)) + 1

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return the time: with two ends, grids or groups, what lies between would follow."""
        return {f"survival {self.options.time}": f"survival over {self.options.time!r}"}

    @property
    def group_codes(self) -> tuple[str, ...]:
        """Return the codes of the groups; one group without a name where there are none."""
        groups = self.options.groups
        return ("",) if groups is None else self.protocol.contract.fields[groups].codes or ()

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        by = f" by {self.options.groups}" if self.options.groups else ""
        return 1, f"for each {self.options.step:g} of {self.options.time}: how many had the event and how many were observed no longer{by}"

    def ask(self, state: State) -> Ask:
        """Ask for counts [groups, cells + 1, 2] (without event, with; last beyond `until`), and of rows with a missing value by group."""
        shape = (len(self.group_codes), self.cells + 1, 2)
        return Ask({}, (*self.counts("ends", shape, ()), self.counts("missing", (shape[0] + 1,), ())[0]))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows: all of them or, where one is too small to leave, none."""
        options, leaving = self.options, Leaving(self, data, mine)
        times = data.columns[options.time]
        event, codes = data.columns[options.event], self.protocol.contract.fields[options.event].codes or ()
        group = np.zeros(len(data), dtype=np.int64) if options.groups is None else data.columns[options.groups].astype(np.int64)
        absent = np.isnan(times) | (event < 0) | (group < 0)
        at = np.maximum(np.ceil(np.where(absent, 0.0, times) / options.step - 1e-9), 0).astype(np.int64)
        late = (at >= self.cells) | (np.where(absent, 0.0, times) > float(options.until or 0.0))
        at, happened = np.where(late, self.cells, at), event == codes.index(options.happened)
        count = len(self.group_codes) * (self.cells + 1) * 2
        unknown = np.where(group < 0, len(self.group_codes), group)
        cells = np.where(absent, count + unknown, (group * (self.cells + 1) + at) * 2 + happened)
        named = [name for name in (options.time, options.event, options.groups) if name is not None]
        counts, held = leaving.table("ends", named, cells, count + len(self.group_codes) + 1, whole=True)
        shape = (len(self.group_codes), self.cells + 1, 2)
        sums = {"ends": counts[:count].reshape(shape), "missing": counts[count:], "ends/held": np.asarray(float(held.any()))}
        return Answer({name: np.asarray(value) for name, value in sums.items()}), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return curves by group, the log-rank test, and how many sites held their counts back."""
        ends, held, missing = results["ends"], int(results["ends/held"]), results["missing"]
        sizes = ends.sum(axis=(1, 2))
        hidden = held_totals(sizes, self.least)
        bare = self._bare(ends, missing) or bool(np.any(hidden))
        parts = zip(self.group_codes, ends, hidden, strict=True)
        groups = [self._curve(code, part, bare, bool(hide), held) for code, part, hide in parts]
        options = self.options
        about = {"field": options.time, "unit": self.protocol.contract.fields[options.time].unit, "event": options.event}
        folded = np.stack([_folded(part) for part in ends])
        test = {} if options.groups is None else {"by": options.groups, "log_rank": self._test(folded, bare)}
        small = bool(np.any((missing > 0) & (missing < self.least)))
        return {
            **about,
            "step": options.step,
            "until": options.until,
            "groups": groups,
            **test,
            "missing": {"count": HIDDEN if small or 0 < sizes.sum() < self.least else int(missing.sum())},
            **({"held_back_at": held} if held else {}),
        }

    def _bare(self, ends: np.ndarray, missing: np.ndarray) -> bool:
        """Say whether counts must be left out of all groups, which beside those of other tables or groups would tell a small one.

        So it is where few values are missing, few of a group had the event, had none, or had it beyond `until`; and, of totals, where
        another table counts the time in bins, or counts those too whose time is missing.
        """
        late = ends[:, -1, 1]
        kinds = np.concatenate([missing, ends[:, :-1, 1].sum(axis=1), late, ends[:, :, 0].sum(axis=1)])
        if self.least <= 1:
            return False
        others = [one for one in self.protocol.algorithms if isinstance(one, Statistic)]
        beside = any(self.options.time in one.divided for one in others) or (len(others) > 1 and bool(np.any(missing)))
        return (self.protocol.hides and beside) or bool(np.any((kinds > 0) & (kinds < self.least)))

    def _curve(self, code: str, ends: np.ndarray, bare: bool, hide: bool, held: int) -> dict[str, Any]:
        """Return one group's curve at the times that may be shown, each with events and ends of observation since the one before.

        Args:
            code: of the group.
            ends: [cells + 1, 2].
            bare: leave counts out.
            hide: tell nothing of this group.
            held: how many sites held their counts back.
        """
        named = {"group": code} if self.options.groups is not None else {}
        total = int(ends.sum())
        if hide or not total:
            known = not (hide or held or bare)
            why = "nobody is in this group" if known else HIDDEN
            return {**named, "rows": 0 if known else HIDDEN, "points": [], "note": why}
        folded = _folded(ends)
        survival, low, high = _kaplan_meier(folded)
        risk = total - np.concatenate([[0.0], np.cumsum(folded.sum(axis=1))])
        points, start, median, ending = [], 0, None, self.options.until or 0.0
        for last in _shown(folded, self.least):
            events, ended = (float(folded[start : last + 1, which].sum()) for which in (1, 0))
            numbers = {"at_risk": int(risk[start]), "events": int(events), "censored": int(ended)}
            one = {"time": min(last * self.options.step, ending), **(dict.fromkeys(numbers) if bare else numbers)}
            three = {"survival": survival[last], "low": low[last], "high": high[last]}
            points.append({**one, **{name: self._rounded(float(value), bare) for name, value in three.items()}})
            if median is None and survival[last] <= 0.5:
                median = one["time"] if not folded[start:last].any() else NOT_TOLD
            start = last + 1
        if median is None and self.least > 1 and (bare or folded[start:, 1].any()):
            median = NOT_TOLD
        counts = {"rows": HIDDEN, "events": HIDDEN} if bare else {"rows": total, "events": int(folded[:, 1].sum())}
        return {**named, **counts, "median": median, "points": points}

    def _test(self, ends: np.ndarray, bare: bool) -> dict[str, Any]:
        """Return the log-rank test; of two digits where single cells are not shown, none where counts are left out."""
        if bare:
            return {"chi_square": None, "degrees_of_freedom": None, "p": None, "note": HIDDEN}
        found = _log_rank(ends)
        if self.least > 1:
            found.update({name: float(f"{found[name]:.2g}") for name in ("chi_square", "p") if found[name] is not None})
        return found

    def _rounded(self, value: float, bare: bool) -> float | None:
        """Return a share; with four places where cells are hidden, two where counts are: more would tell in which order events came."""
        return number(round(value, 2 if bare else 4) if self.least > 1 else value)


def _folded(ends: np.ndarray) -> np.ndarray:
    """Return [cells + 1, 2] in which events beyond the end of the grid are ends of observation."""
    found = np.array(ends, dtype=np.float64)
    found[-1] = [found[-1].sum(), 0.0]
    return found


def _shown(ends: np.ndarray, least: int) -> list[int]:
    """Return the last cell of each stretch of time in which events, and ends of observation, are none or `least` or more.

    So they are in what remains after the last stretch too, since it follows from the totals: stretches at the end are given up until then,
    and one that takes the rest of the grid stands in their place where it may.

    Args:
        ends: [cells + 1, 2]; the last cell is beyond the grid and never shown.
        least: k; with 1 every cell in which something ends is a stretch.
    """
    found, counts = [], np.zeros(2)
    for place, here in enumerate(ends[:-1]):
        counts = counts + here
        if here.any() and _large(counts, least):
            found.append(place)
            counts = np.zeros(2)
    while found and not _large(ends[found[-1] + 1 :].sum(axis=0), least):
        found.pop()
    start, used = found[-1] + 1 if found else 0, np.flatnonzero(ends[:-1].any(axis=1))
    end = int(used[-1]) if len(used) else -1
    if end >= start and _large(ends[start : end + 1].sum(axis=0), least) and _large(ends[end + 1 :].sum(axis=0), least):
        found.append(end)
    return found


def _large(counts: np.ndarray, least: int) -> bool:
    return bool(np.all((counts == 0) | (counts >= least)))


def _kaplan_meier(ends: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the share that is left after each cell, [cells + 1], with its 95 % interval; events come before ends of observation."""
    gone = ends.sum(axis=1)
    risk = ends.sum() - np.concatenate([[0.0], np.cumsum(gone)[:-1]])
    events = ends[:, 1]
    left = np.where(risk > 0, 1 - events / np.where(risk > 0, risk, 1), 1.0)
    survival = np.cumprod(left)
    last = risk - events
    variance = np.cumsum(np.where(last > 0, events / np.where(last > 0, risk * last, 1), 0.0))
    inner = (survival > 0) & (survival < 1)
    log = np.log(np.where(inner, survival, 0.5))
    reach = _REACH * np.sqrt(variance) / -log
    low = np.where(inner, survival ** np.exp(reach), survival)
    high = np.where(inner, survival ** np.exp(-reach), survival)
    return survival, low, high


def _log_rank(ends: np.ndarray) -> dict[str, Any]:
    """Return chi-square, degrees of freedom and p value over the groups in which anybody is at risk at an event.

    Args:
        ends: [groups, cells, 2], ends of observation and events.
    """
    gone = ends.sum(axis=2)
    risk = gone.sum(axis=1, keepdims=True) - np.cumsum(gone, axis=1) + gone
    there = ends[:, :, 1].sum(axis=0) > 0
    takes = risk[:, there].any(axis=1)
    freedom = int(takes.sum()) - 1
    if freedom < 1:
        none = {"chi_square": None, "degrees_of_freedom": max(freedom, 0), "p": None}
        return {**none, "note": "it takes two groups with patients at risk, and an event"}
    ends, risk = ends[takes], risk[takes]
    events, everyone = ends[:, :, 1].sum(axis=0), risk.sum(axis=0)
    share = risk[:, there] / everyone[there]
    apart = (ends[:, there, 1] - share * events[there]).sum(axis=1)
    many = np.maximum(everyone[there] - 1, 1)
    spread = events[there] * (everyone[there] - events[there]) / many
    covariance = np.diag((spread * share).sum(axis=1)) - (spread * share) @ share.T
    value = float(apart[:-1] @ np.linalg.pinv(covariance[:-1, :-1]) @ apart[:-1])
    return {"chi_square": number(value), "degrees_of_freedom": freedom, "p": chi_square_above(value, freedom)}
