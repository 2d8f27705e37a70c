"""The plan says for how long rows stand; newer rows that would tell single patients are refused when the study is read."""

from __future__ import annotations

import pytest

from tests.study.test_summary import GOOD, PLAIN, page
from wardround.study.findings import FileRefused
from wardround.study.protocol.load import read_protocol

ROLLING = f'data = "rolling"\n{GOOD}'
COUNTS = """data = "rolling"
kind = "statistics"
study = "counts"
question = { title = "How many?", purpose = "Count." }
parties = { coordinator = "c" }
bounds = { sites = 4, examples = 1000 }
rounds = { quorum = 2 }
privacy = { counts = true, smallest_count = 10 }
[contract.fields]
age = { type = "number", unit = "a", range = [0, 120] }
sex = { type = "code", codes = ["f", "m"] }
[[phases]]
name = "ages"
kind = "histogram"
"""


def test_both_say_on_the_page_what_they_mean() -> None:
    assert "Frozen data: the rows that were approved are those of every round" in page()
    assert "Rolling data: each hospital may bring a newer snapshot" in page(ROLLING)
    for text in (GOOD, ROLLING):
        assert "Patients on the hospital's opt-out list are in no snapshot made from then on." in page(text)
        assert "follows from the counts in the totals" in page(text)
    assert "A withdrawal after answers have left ends the hospital's part" in page(PLAIN)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        (COUNTS, "tables of two snapshots, subtracted, would show the few patients"),
        (f'data = "rolling"\n{PLAIN}', "plain sums on two snapshots, subtracted"),
        (ROLLING.replace('patient = "patient" ', 'patient = ""'), "nobody can tell which rows are new"),
        (ROLLING.replace('"rolling"', '"thawed"'), "data"),
    ],
)
def test_newer_rows_where_they_would_do_harm_are_refused(text: str, wrong: str) -> None:
    with pytest.raises(FileRefused, match=wrong) as caught:
        read_protocol(text, "study.toml")
    assert caught.value.findings[0].key == "data" and caught.value.findings[0].line == 1


def test_counts_of_single_patients_may_roll() -> None:
    assert read_protocol(COUNTS.replace("smallest_count = 10", "smallest_count = 1"), "study.toml").data == "rolling"
