"""Be a hostile coordinator in a study with sums in groups: what `coordinator_attacks` is for one sum of all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tests.support import Small
from tests.system.coordinator_attacks import Attempt, Coordinator, Key
from tests.system.puppet import Puppet
from wardround.combining.secure.groups import Groups, Party, combined, groups_of
from wardround.combining.secure.vouching import Behind
from wardround.combining.secure.words import STAGES, Advert
from wardround.study.arrays import Arrays, under
from wardround.study.canonical import digest_json
from wardround.study.layout import Layout
from wardround.study.task import RoundClosed, Task, Total
from wardround.study.threshold import IN_GROUPS


class Credulous(Behind):
    """Believe every total: what a helper of the coordinator does."""

    def missing(self, said: Mapping[str, str]) -> str:
        return ""


def word(closings: Iterable[RoundClosed], roster: Iterable[str]) -> str:
    """Return what a site says that vouches for these closings."""
    behind = Behind()
    for closing in closings:
        behind = behind.after(closing, True, ((1, closing.survivors),), roster)
    return behind.word


class Divided(Coordinator):
    """Hold a study of 15 sites or more.

    Args:
        folder: of the study.
        sites: how many hospitals, puppets included.
        helpers: names of the hospitals that help the coordinator.
        prepare: changes the study before it begins.
    """

    def __init__(
        self, folder: Path, sites: int = 15, helpers: Iterable[str] = (), prepare: Callable[[Small], object] = lambda study: None
    ) -> None:
        super().__init__(folder, sites, 0, 3, prepare, "bucketed")
        self.puppets = [Puppet(name, self.gates.pop(name).keys.signing, party=self.party) for name in helpers]
        self.honest = tuple(self.gates)

    @property
    def groups(self) -> Groups:
        """Return who is with whom."""
        return groups_of(self.protocol.digest, self.sites)

    def party(self, task: Task) -> tuple[Party, Behind]:
        """Return among whom a helper masks, and that it vouches for whatever was published."""
        group = next(one for one in self.groups if task.site in one)
        return Party(frozenset(group), 2 * len(group) // 3 + 1, everybody=frozenset(self.sites)), Credulous(
            True, word(task.closed, self.sites)
        )

    def forged_group(self, total: Total, number: int, term: str = "", by: int = 2**20) -> Total:
        """Return a total in which one number of one group differs."""
        name = f"{number}/{term or total.layout[-1].name}"
        integers = {one: np.array(value) for one, value in total.integers.items()}
        integers[name].reshape(-1)[:1] += by
        return rebuilt(total, integers)


def rebuilt(total: Total, integers: Arrays, **proof: Any) -> Total:
    """Return a total of other integers, with the sums that these stand for and the proof of the true one."""
    numbers = sorted({name.partition("/")[0] for name in integers}, key=int)
    sums = combined(total.layout, [sums_of(total.layout, under(integers, number)) for number in numbers])
    survivors, agreed, seal = total.proof
    return replace(
        total, integers=integers, sums=sums, proof=(proof.get("survivors", survivors), proof.get("agreed", agreed), proof.get("seal", seal))
    )


def sums_of(layout: Layout, integers: Arrays) -> dict[str, np.ndarray]:
    """Return totals as numbers, whatever they are."""
    return {term.name: np.multiply(integers[term.name], term.step, dtype=np.float64) for term in layout}


class GroupedAttempt(Attempt):
    """Be one attempt of all groups, led by the coordinator step by step."""

    def __init__(self, evil: Divided, number: int, sites: Iterable[str] = (), names: Iterable[str] = (), **changes: Any) -> None:
        super().__init__(evil, number, sites, names, **changes)
        self.changes.setdefault("roster", digest_json(self.names))
        self.whole = self.sites
        self.groups = groups_of(evil.protocol.digest, self.names) if len(self.names) >= IN_GROUPS else (tuple(self.names),)

    def group(self, site: str) -> tuple[str, ...]:
        """Return with whom a site is."""
        return next(one for one in self.groups if site in one)

    def passed(self, stage: Any, site: str) -> Mapping[str, Any]:
        found = super().passed(stage, site)
        mine = self.group(site)
        if stage == "agree":
            return {"survivors": [one for one in found["survivors"] if one in mine]}
        return {"signatures": {one: sign for one, sign in found["signatures"].items() if one in mine}} if stage == "open" else found

    def listed(self, site: str) -> tuple[str, dict[str, Advert]]:
        told = self.told["shares"]
        kept = told[site]
        mine = [one for one in kept["adverts"] if one["site"] in self.group(site)]
        told[site] = {"adverts": mine}
        try:
            return super().listed(site)
        finally:
            told[site] = kept

    def total(self) -> Total:
        """Open the totals of all groups whose sites have revealed, as an honest coordinator does."""
        said, totals = self.said, {}
        for number, group in enumerate(self.groups):
            here = tuple(site for site in group if site in said["open"])
            if here:
                self.sites = here
                self.said = {stage: {site: one for site, one in said[stage].items() if site in group} for stage in STAGES}
                totals[number] = super().total()
        self.sites, self.said = self.whole, said
        integers = {f"{number}/{name}": value for number, one in totals.items() for name, value in one.integers.items()}
        survivors = tuple(sorted(site for one in totals.values() for site in one.proof[0]))
        agreed = {site: sign for one in totals.values() for site, sign in one.proof[1].items()}
        seal = tuple(f"{number}/{one}" for number, total in totals.items() for one in total.proof[2])
        sums = combined(self.layout, [one.sums for one in totals.values()])
        return Total(self.layout, integers, sums, len(survivors), (), (survivors, agreed, seal))

    def learned(self) -> list[tuple[Key, frozenset[str]]]:
        truth, found = self.truth, []
        for group in self.groups:
            self.truth = {site: one for site, one in truth.items() if site in group}
            found += super().learned() if self.truth else []
        self.truth = truth
        return found
