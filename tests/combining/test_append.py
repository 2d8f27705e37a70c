"""Sites' sums lie side by side, whatever the order in which they came; too few are too few."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wardround.combining.append import Append
from wardround.combining.fixedpoint import packed
from wardround.study.interfaces import Engine
from wardround.study.layout import Term
from wardround.study.task import Ask, Receipt, Refusal, Short, Task, Total, Update

LAYOUT = (Term.sized("mean", (2,), 10.0, 4, bits=64), Term.count("rows", (), 1000, 4))


class Waiting(Engine):
    """Give back prepared answers in a given order."""

    def __init__(self, updates: Sequence[Update]) -> None:
        self.updates = updates

    def sites(self) -> tuple[str, ...]:
        return tuple(sorted(one.site for one in self.updates))

    def send(self, tasks: Sequence[Task]) -> None: ...

    def receive(self, due: float) -> Iterator[Update | Refusal]:
        yield from self.updates

    def close(self) -> None: ...


def task(site: str) -> Task:
    return Task("s", "sha256:p", "preflight", 0, 0, "answer", site, 1.0, "sha256:a", "r", body=Ask({}, LAYOUT))


def update(site: str, mean: float) -> Update:
    body = packed(LAYOUT, {"mean": np.array([mean, -mean]), "rows": np.asarray(12.0)})
    return Update(task(site).digest, site, body, {}, Receipt(site.ljust(64, "0"), 0, 1, "", "", ""), "")


def collected(order: Sequence[str], quorum: int = 2) -> Total | Short:
    engine = Waiting([update(site, float(len(site))) for site in order])
    tasks = [task(site) for site in sorted(order)]
    total, refusals = Append().collect(engine, tasks, lambda task, update, read: read(LAYOUT, update.body), quorum, 1.0)
    assert refusals == ()
    return total


@given(st.permutations(["a", "bb", "ccc"]))
def test_order_changes_nothing(order: list[str]) -> None:
    total, other = collected(order), collected(["a", "bb", "ccc"])
    assert isinstance(total, Total) and isinstance(other, Total)
    assert total.digest == other.digest and total.receipts == other.receipts
    assert total.sums["bb/mean"].tolist() == [2.0, -2.0] and set(total.sums) == {f"{s}/{n}" for s in order for n in ("mean", "rows")}


def test_too_few_are_short() -> None:
    assert collected(["a"], 2) == Short(1, 2)
