"""Prepare the section on what left each site, set against what stayed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wardround.pages import charts, words
from wardround.pages.figures import Result
from wardround.pages.suppress import small
from wardround.pages.traffic import Missed, RecordView, Traffic, by_phase, by_site, in_all, missed, walked
from wardround.record.entries import KINDS


@dataclass(frozen=True)
class Line:
    """Hold one line of a table of what left.

    Attributes:
        name: of the site or phase.
        messages: how many, as text.
        kinds: how many of each kind, as text.
        left: size of what left.
        stayed: size of the snapshot that stayed.
        share: what left against what stayed.
        picture: both as bars.
        rounds: of a phase, how many were closed.
        refused: tasks that the site itself turned down.
    """

    name: str
    messages: str
    kinds: str
    left: str
    stayed: str = ""
    share: str = ""
    picture: str = ""
    rounds: str = ""
    refused: int = 0


@dataclass(frozen=True)
class Left:
    """Hold the section.

    Attributes:
        recorded: whether the figures come from the record; else they are the result's own.
        summary: one sentence.
        unlogged: sites of whose log no copy lies in the record, so that nothing here counts what left them.
        known_stayed: whether the result says of any site how much stayed there.
        kinds: each kind that occurred, and what it means.
        sites: one line a site, and one over all.
        phases: one line a phase.
        missed: refusals and absences.
    """

    recorded: bool
    summary: str
    unlogged: Sequence[str]
    known_stayed: bool
    kinds: Sequence[tuple[str, str]]
    sites: Sequence[Line]
    phases: Sequence[Line]
    missed: Sequence[Missed]


def left(result: Result, record: RecordView | None) -> Left:
    """Return what left, from the sites' own logs where there are any, else from the result's history."""
    gone = missed(result, record)
    if record is None:
        return Left(False, "", (), False, (), (), _from_history(result), gone)
    parts = by_site(record)
    unlogged = [name for name in result.get("sites") or {} if name not in record.sites]
    total = replace(in_all(parts), name="These sites") if unlogged else in_all(parts)
    rounds, phases = walked(record)
    summary = (
        f"{_many(len(parts), 'site')} sent {_many(total.messages, 'message')}, {words.size(total.bytes)} in all, "
        f"over {_many(rounds, 'round')} in {_many(phases, 'phase')}."
    )
    kinds = [(kind, KINDS.get(kind, "unknown to this release")) for kind, _ in total.kinds]
    lines, by_phases = _site_lines(result, parts, total), [_phase_line(phase) for phase in by_phase(record)]
    return Left(True, summary, unlogged, any(line.stayed != words.NONE for line in lines), kinds, lines, by_phases, gone)


def _many(count: int, word: str) -> str:
    return f"{words.whole(count)} {word}{'' if count == 1 else 's'}"


def _kinds(part: Traffic) -> str:
    return ", ".join(f"{words.whole(count)}{words.GAP}{kind}" for kind, count in part.kinds) or words.NONE


def _site_lines(result: Result, parts: Sequence[Traffic], total: Traffic) -> list[Line]:
    stayed = {name: _stayed(site) for name, site in (result.get("sites") or {}).items()}
    most = max([part.bytes for part in parts] + [size for size in stayed.values() if size is not None], default=0)
    lines = [_site_line(part, stayed.get(part.name), most) for part in parts]
    if len(parts) > 1:
        known = [stayed.get(part.name) for part in parts]
        sizes = [size for size in known if size is not None]
        whole = sum(sizes) if len(sizes) == len(known) else None
        lines.append(_line(total, whole, ""))
    return lines


def _stayed(site: Mapping[str, object]) -> int | None:
    """Return the size of a site's snapshot, unless it would tell how few patients there are."""
    size = site.get("snapshot_bytes")
    return size if isinstance(size, int) and not small(site.get("patients")) else None


def _site_line(part: Traffic, stayed: int | None, most: int) -> Line:
    says = f"{part.name}: {words.size(part.bytes)} left" + (f", {words.size(stayed)} stayed" if stayed is not None else "")
    return _line(part, stayed, charts.two_bars(part.bytes, stayed, most, says))


def _line(part: Traffic, stayed: int | None, picture: str) -> Line:
    size = words.NONE if stayed is None else words.size(stayed)
    share = words.NONE if stayed is None else words.times(part.bytes, stayed)
    return Line(part.name, words.whole(part.messages), _kinds(part), words.size(part.bytes), size, share, picture, refused=part.refused)


def _phase_line(part: Traffic) -> Line:
    rounds = words.whole(part.rounds)
    return Line(part.name, words.whole(part.messages), _kinds(part), words.size(part.bytes), rounds=rounds, refused=part.refused)


def _from_history(result: Result) -> list[Line]:
    rounds: dict[str, list[int]] = {}
    for row in result.get("history") or []:
        rounds.setdefault(str(row.get("phase")), []).append(int(row.get("bytes_up") or 0))
    return [Line(phase, words.NONE, words.NONE, words.size(sum(sizes)), rounds=words.whole(len(sizes))) for phase, sizes in rounds.items()]
