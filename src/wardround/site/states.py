"""Keep where each phase of a study stands at a site that follows it: files, each written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from wardround.combining.secure.vouching import Behind
from wardround.study.arrays import Arrays, Stored, from_bytes, keep, put_under, size_of, under
from wardround.study.files import LARGE, Kept
from wardround.study.task import Ask, Done, State


@dataclass
class States:
    """Hold the last state of each phase, or what it came to; phases are numbered as in the protocol.

    Attributes:
        folder: where the files lie; nobody else writes there.
    """

    folder: Path
    _new: dict[int, tuple[State | Done, Behind]] = field(default_factory=dict, init=False, repr=False)

    def state(self, number: int, phase: str) -> State | None:
        """Return the last state of a phase that has begun."""
        if number in self._new:
            new = self._new[number][0]
            return new if isinstance(new, State) else None
        kept = self._states(number)
        return State(phase, int(kept[-1].stem.partition("-")[2]), _read(kept[-1])) if kept else None

    def done(self, number: int, phase: str) -> Done | None:
        """Return what a phase came to."""
        if number in self._new:
            new = self._new[number][0]
            return new if isinstance(new, Done) else None
        path = self.folder / f"{number}.done"
        if not path.exists():
            return None
        arrays, about = _read(path), json.loads(Stored(path).metadata["wardround"])
        model = under(arrays, "model") if about["model"] else None
        return Done(phase, about["round"], under(arrays, "results"), about["stopped"], model)

    def behind(self, number: int) -> Behind:
        """Return what stands behind where a phase stands: whether this site itself checked the last total, and who else was in it."""
        if number in self._new:
            return self._new[number][1]
        done = self.folder / f"{number}.done"
        path = done if done.exists() else self._states(number)[-1]
        return Behind.of(json.loads(Stored(path).metadata["wardround"]))

    def put(self, number: int, new: State | Done, behind: Behind) -> None:
        """Note where a phase stands, and what stands behind it; not on the disk before `save`."""
        self._new[number] = (new, behind)

    def drop(self) -> None:
        """Forget what was noted since the last `save`."""
        self._new.clear()

    def save(self) -> None:
        """Write down what was noted, in place of where the phases stood."""
        for number, (new, behind) in sorted(self._new.items()):
            self._write(number, new, behind)
        self._new.clear()

    def _write(self, number: int, new: State | Done, behind: Behind) -> None:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        before = self._states(number)
        if isinstance(new, State):
            path = keep(new.arrays, self.folder / f"{number}-{new.round:06}.state", json.dumps(behind.described)).path
        else:
            about = {"round": new.round, "stopped": new.stopped, "model": new.model is not None, **behind.described}
            arrays = {**put_under("results", new.results), **put_under("model", new.model or {})}
            path = keep(arrays, self.folder / f"{number}.done", json.dumps(about)).path
        for old in before:
            if old != path:
                old.unlink()

    def initial(self) -> Arrays | None:
        """Return the initial parameters, once they are here."""
        path = self.folder / "initial"
        return _read(path) if path.exists() else None

    def put_initial(self, arrays: Arrays) -> None:
        """Keep the initial parameters."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        keep(arrays, self.folder / "initial")

    def filed(self, ask: Ask) -> Ask:
        """Return an ask whose arrays, if they are large, lie in a file."""
        if size_of(ask.arrays) < LARGE:
            return ask
        filed = Ask.from_wire(keep(ask.arrays, self.folder / "ask", ask.head, durable=False))
        vars(filed)["digest"] = ask.digest  # of the very bytes that were written: they are not read again for it
        return filed

    def _states(self, number: int) -> list[Path]:
        return sorted(self.folder.glob(f"{number}-*.state"))


def _read(path: Path) -> Arrays:
    return from_bytes(Kept(path) if path.stat().st_size >= LARGE else path.read_bytes())
