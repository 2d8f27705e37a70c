"""What one study was told bounds what the next may be told, at the true gate of a hospital that keeps a ledger."""

from __future__ import annotations

import datetime
import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.site.counted import asking, first, join, phase, policy, ready, study, task
from wardround import hospital
from wardround.bringing import prepare
from wardround.data.snapshot import read_snapshot
from wardround.privacy.across import pseudonyms
from wardround.site.asked import asked_so_far
from wardround.site.folder import SiteFolder
from wardround.site.ledger import FILE as LEDGER
from wardround.site.rules import rules_text
from wardround.study.arrays import Arrays
from wardround.study.errors import PolicyRefused, StoreError
from wardround.study.protocol import Protocol
from wardround.study.task import Refusal, Update

K, NOON = 10, datetime.datetime(2026, 11, 22, 12, 0)
AGE = 'age = {{ type = "number", unit = "a", range = [{}, {}] }}\nsex = {{ type = "code", codes = ["f", "m"] }}'
TENS = study(phase("histogram", "bins = 10"), "tens")
SHIFTED = study(phase("histogram", "bins = 10"), "shifted", fields=AGE.format(3, 103))
SEX = study(phase("histogram", 'fields = ["sex"]'), "sexes")
Table = list[dict[str, object]]


def table(count: int = 300, first: int = 0) -> Table:
    rng = np.random.default_rng(3)
    ages, sexes = rng.integers(20, 90, 2000), rng.integers(0, 2, 2000)
    return [{"patient": f"MRN-{number:05}", "age": ages[number], "sex": "fm"[sexes[number]]} for number in range(first, first + count)]


def told(path: Path, agreed: Protocol, rows: Table | None = None, **rules: Any) -> Arrays:
    """Take part in a study with one phase at a hospital whose folders lie side by side, and return what left."""
    folder = ready(join(path, agreed, rows or table(), policy(**rules)))
    with asking(folder) as asked:
        return asked.counts(agreed.phases[0].name)


def refused(path: Path, agreed: Protocol, rows: Table | None = None, **rules: Any) -> str:
    """Return why a hospital would not approve a study, and that its gate would not answer it either."""
    folder = join(path, agreed, rows or table(), policy(**rules))
    prepare(folder)
    with pytest.raises(PolicyRefused) as error:
        hospital.approve(folder, "officer")
    algorithm = agreed.by_phase[agreed.phases[0].name]
    with asking(folder) as asked, pytest.raises(PolicyRefused, match="the site's rule statistics"):
        asked.desk.site.policy.permit(agreed, task(agreed, algorithm.ask(first(algorithm)), algorithm.phase, 0), NOON)
    return error.value.message


def held(sums: Arrays, name: str) -> int:
    return int(sums[f"{name}/held"].sum())


def test_other_edges_of_the_same_field_are_held_back_in_a_later_study(tmp_path: Path) -> None:
    assert held(told(tmp_path / "alone" / "b", SHIFTED), "age") == 0, "nothing in it is small by itself"
    before, later = told(tmp_path / "a", TENS), told(tmp_path / "b", SHIFTED)
    assert held(before, "age") == 0 and held(later, "age") > 3
    assert held(later, "sex") == 0, "the same codes give nothing away"


def test_the_same_table_may_be_told_again(tmp_path: Path) -> None:
    again = study(phase("histogram", "bins = 10", "anew"), "again")
    before, later = told(tmp_path / "a", TENS), told(tmp_path / "b", again)
    assert {name: value.tolist() for name, value in before.items()} == {name: value.tolist() for name, value in later.items()}


def test_rows_in_another_order_are_the_same_patients(tmp_path: Path) -> None:
    before, later = told(tmp_path / "a", TENS), told(tmp_path / "b", TENS.changed(study="turned"), table()[::-1])
    assert {name: value.tolist() for name, value in before.items()} == {name: value.tolist() for name, value in later.items()}


def test_a_field_under_another_name_from_the_same_column_is_the_same_field(tmp_path: Path) -> None:
    fields = AGE.format(3, 103).replace("age =", "years =")
    renamed = study(phase("histogram", 'fields = ["years"]\nbins = 10'), "renamed", fields=fields)
    told(tmp_path / "a", TENS)
    folder = ready(join(tmp_path / "b", renamed, table(), policy(), 'years = "age"'))
    with asking(folder) as asked:
        assert held(asked.counts("histogram"), "years") > 3


def test_patients_who_came_do_not_give_themselves_away(tmp_path: Path) -> None:
    """Twelve new patients are enough for the total; of each sex there are fewer, and the difference would count them."""
    new = [row["sex"] for row in table(12, 300)]
    assert 0 < new.count("f") < K and 0 < new.count("m") < K
    told(tmp_path / "a", SEX)
    assert held(told(tmp_path / "b", SEX.changed(study="later"), table(312)), "sex") == 3


def test_patients_who_have_gone_do_not_give_themselves_away(tmp_path: Path) -> None:
    told(tmp_path / "a", SEX, table(312))
    assert held(told(tmp_path / "b", SEX.changed(study="later")), "sex") == 3


def test_many_new_patients_are_told_of(tmp_path: Path) -> None:
    told(tmp_path / "a", SEX)
    assert held(told(tmp_path / "b", SEX.changed(study="later"), table(400)), "sex") == 0


@pytest.mark.parametrize("combine", ["plain", "secure"])
@pytest.mark.parametrize(
    ("rows", "named"), [(table(301), "fewer than 10"), (table(291), "fewer than 10"), (table(300, 4), "fewer than 10")]
)
def test_nearly_the_same_patients_are_refused(tmp_path: Path, combine: str, rows: Table, named: str) -> None:
    told(tmp_path / "a", SEX)
    later = study(phase("histogram", 'fields = ["sex"]'), "later", combine=combine)
    assert named in refused(tmp_path / "b", later, rows)


def test_a_value_that_was_corrected_does_not_give_its_patient_away(tmp_path: Path) -> None:
    rows = table()
    told(tmp_path / "a", SEX)
    corrected = [{**rows[0], "sex": "m" if rows[0]["sex"] == "f" else "f"}, *rows[1:]]
    assert held(told(tmp_path / "b", SEX.changed(study="later"), corrected), "sex") == 3


def test_a_k_below_the_hospitals_is_refused_by_name(tmp_path: Path) -> None:
    assert "statistics.smallest_count" in refused(tmp_path / "a", study(phase("histogram"), least=5))
    assert "sex" in told(tmp_path / "b", study(phase("histogram"), least=5), least=5)


def test_studies_and_counts_of_a_period_are_limited(tmp_path: Path) -> None:
    told(tmp_path / "a", SEX, studies=2, counts=9)
    told(tmp_path / "b", SEX.changed(study="second"), studies=2, counts=9)
    third = SEX.changed(study="third")
    assert "statistics.studies" in refused(tmp_path / "c", third, studies=2, counts=9)
    assert "statistics.counts" in refused(tmp_path / "d", third, studies=3, counts=8)
    found = asked_so_far(SiteFolder(tmp_path / "c"), 2e9)
    assert found is not None
    assert found["studies"] == {"asked": 0, "most": 2, "left": 2}, "in 2033 they are long ago"


def test_a_study_in_progress_is_not_ended_by_its_own_counts(tmp_path: Path) -> None:
    two = study(phase("histogram", 'fields = ["sex"]') + phase("describe", 'fields = ["age"]'), "two")
    folder = ready(join(tmp_path / "a", two, table(), policy(studies=1, counts=25)))
    with asking(folder) as asked:
        assert asked.counts("histogram") and asked.counts("describe")
        asked.ask("describe")  # the same again is no further count
    found = asked_so_far(folder, 1.8e9)
    assert found is not None and found["counts"] == {"asked": 25, "most": 25, "left": 0}


def test_a_study_without_rules_for_it_is_refused(tmp_path: Path) -> None:
    folder = join(tmp_path / "a", SEX, table(), policy().split("[statistics]")[0])
    prepare(folder)
    with pytest.raises(PolicyRefused, match="studies of statistics are not allowed") as error:
        hospital.approve(folder, "officer")
    assert "Change the rule" in error.value.remedy


def test_a_study_without_patient_identifiers_is_refused(tmp_path: Path) -> None:
    assert "names no patient" in refused(tmp_path / "a", study(phase("histogram"), patient=""))


def test_a_snapshot_from_before_the_ledger_is_prepared_again(tmp_path: Path) -> None:
    folder = join(tmp_path / "a", SEX, table(), policy().split("[statistics]")[0])
    prepare(folder)
    (folder.path / "policy.toml").write_text(policy())
    with pytest.raises(PolicyRefused, match="prepare' again"):
        hospital.approve(folder, "officer")
    ready(folder)


def test_what_is_told_meanwhile_is_seen_when_an_answer_is_let_out(tmp_path: Path) -> None:
    """Two gates at once: the second has its answer worked out, and only then the first lets its own out."""
    one, other = (ready(join(tmp_path / name, agreed, table())) for name, agreed in (("a", TENS), ("b", SHIFTED)))
    with asking(one) as one_gate, asking(other) as second:
        work = second.desk._worker

        def late(task: Any) -> Any:
            reply = work(task)
            second.desk._worker = work
            one_gate.counts("histogram")
            return reply

        second.desk._worker = late
        found = second.ask("histogram")
        assert (
            isinstance(found, Refusal) and found.again and "beside what another study was told" in found.reason and found.where == "release"
        )
        assert held(second.counts("histogram"), "age") > 3, "worked out anew it leaves, with more held back"


def test_a_coordinator_that_closes_no_round_learns_no_more(tmp_path: Path) -> None:
    """A site adopts what it keeps of a phase when the round is closed; the ledger knows at once."""
    two = study(phase("histogram", 'fields = ["age"]\nbins = 10') + phase("crosstab", 'rows = "age"\ncolumns = "sex"\nbins = 7'), "two")
    with asking(ready(join(tmp_path / "a", two, table()))) as asked:
        asked.counts("histogram")
        both = held(asked.counts("crosstab"), "pairs")
    with asking(ready(join(tmp_path / "other" / "a", two, table()))) as asked:
        assert held(asked.counts("crosstab"), "pairs") < both


def test_the_ledger_holds_no_identifier(tmp_path: Path) -> None:
    told(tmp_path / "a", TENS)
    kept = b"".join(path.read_bytes() for path in (tmp_path / "ledger").iterdir())
    assert b"MRN" not in kept and b"00017" not in kept
    assert all(path.stat().st_mode & 0o077 == 0 for path in (tmp_path / "ledger").iterdir())
    key = bytes.fromhex((tmp_path / "ledger" / "key").read_text())
    assert pseudonyms(key, ["mrn17"]).tobytes() in kept, "its patients are there by keyed hash"
    assert pseudonyms(bytes(32), ["mrn17"]).tobytes() not in kept


def test_an_answer_is_noted_before_it_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ready(join(tmp_path / "a", SEX, table()))
    seen: list[int] = []

    def crash(*_: object) -> None:
        with closing(sqlite3.connect(tmp_path / "ledger" / LEDGER)) as other:
            seen.extend(row[0] for row in other.execute("SELECT counts FROM answers"))
        raise KeyboardInterrupt

    monkeypatch.setattr("wardround.site.release.send", crash)
    with asking(folder) as asked, pytest.raises(KeyboardInterrupt):
        asked.ask("histogram")
    assert seen == [3]
    monkeypatch.undo()
    with asking(folder) as asked:
        assert isinstance(asked.ask("histogram"), Update), "the same answer leaves when it is asked again"


def test_the_gate_does_not_rely_on_its_worker(tmp_path: Path) -> None:
    told(tmp_path / "a", TENS)
    with asking(ready(join(tmp_path / "b", SHIFTED, table()))) as asked:
        site, data = asked.desk.site, read_snapshot(asked.folder.snapshot)
        blind = asked.folder.protocol.by_phase["histogram"]
        asked.desk._worker = lambda work: blind.answer(work.task.body, data, site.state.mine(), work.rng)
        found = asked.ask("histogram")
    assert isinstance(found, Refusal) and found.where == "release"
    assert hospital.entries(asked.folder)[-1]["t"] == "refused"


def test_without_its_ledger_a_hospital_tells_nothing(tmp_path: Path) -> None:
    folder = ready(join(tmp_path / "a", SEX, table()))
    (tmp_path / "ledger" / LEDGER).write_bytes(b"no database" * 100)
    with asking(folder) as asked:
        found = asked.ask("histogram")
    assert isinstance(found, Refusal) and "ledger cannot be used" in found.reason
    (tmp_path / "ledger" / LEDGER).unlink()
    with asking(folder) as asked:
        found = asked.ask("histogram")
    assert isinstance(found, Refusal) and "statistics.ledger" in found.reason


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file in its place")
    with pytest.raises(StoreError, match="cannot be written") as error:
        prepare(join(tmp_path / "a", SEX, table()))
    assert "policy.toml" in error.value.remedy


def test_a_fresh_file_says_what_a_study_of_statistics_needs(tmp_path: Path) -> None:
    assert tomllib.loads(rules_text(SEX)) == {}
    lines = [re.sub(" +#.*", "", line.removeprefix("# ")) for line in rules_text(SEX).splitlines()]
    text = "\n".join(line for line in lines if re.match(r"[a-z_]+ = |\[", line))
    folder = ready(join(tmp_path / "a", SEX, table(), text))
    assert folder.rules.statistics is not None and folder.rules.statistics.counts == 3
