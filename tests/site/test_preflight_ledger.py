"""What a preflight told of few patients is known to the hospital's ledger: no later table of these patients isolates them."""

from __future__ import annotations

from pathlib import Path

from tests.learning.preflight.hospitals import FIELDS, plan
from tests.site.counted import asking, join, phase, policy, ready, study
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal

CODE = 'ward = { type = "code", codes = ["a", "b", "c"]%s }'
TABLE: list[dict[str, object]] = [
    {"patient": f"MRN-{number:05}", "ward": "a" if number < 50 else "b" if number < 54 else "c", "age": 30 + number % 40}
    for number in range(84)
]
HISTOGRAM = study(
    phase("histogram", 'fields = ["ward"]'), "later", fields=CODE % "" + '\nage = { type = "number", unit = "a", range = [0, 100] }'
)


def preflight() -> Protocol:
    return plan({"ward": FIELDS["ward"], "age": FIELDS["age"]}, label="ward")


def test_a_later_table_hides_what_would_isolate_the_few(tmp_path: Path) -> None:
    with asking(ready(join(tmp_path / "one", preflight(), TABLE, policy()))) as asked:
        told = asked.counts("preflight")
        assert told["codes"].tolist() == [54, 0, 30, 0, 0] and told["codes/few"].tolist() == [0, 1, 0, 0, 0]
    with asking(ready(join(tmp_path / "two", HISTOGRAM, TABLE, policy()))) as asked:
        later = asked.counts("histogram")
    shown = [count for count, held in zip(later["ward"], later["ward/held"], strict=True) if not held]
    assert 50 not in shown, "with the 54 that the preflight told, 50 would tell the 4"


def test_without_the_preflight_the_same_table_may_tell_more(tmp_path: Path) -> None:
    with asking(ready(join(tmp_path / "alone", HISTOGRAM, TABLE, policy()))) as asked:
        later = asked.counts("histogram")
    assert 50 in later["ward"].tolist()


def test_after_such_a_table_the_preflight_is_refused(tmp_path: Path) -> None:
    with asking(ready(join(tmp_path / "one", HISTOGRAM, TABLE, policy()))) as asked:
        assert 50 in asked.counts("histogram")["ward"].tolist()
    with asking(ready(join(tmp_path / "two", preflight(), TABLE, policy()))) as asked:
        found = asked.ask("preflight")
    assert isinstance(found, Refusal) and "statistics.ledger" in found.reason
