"""What one study was told bounds what the next may be told, at the true gate of a hospital that keeps a ledger."""

from __future__ import annotations

import datetime
import json
import re
import sqlite3
import tomllib
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning import finished_studies
from tests.site.counted import asking, join, phase, policy, ready, study, task
from tests.site.counted import first as first_state
from wardround import hospital
from wardround.bringing import prepare
from wardround.data.snapshot import read_snapshot
from wardround.privacy.across import pseudonyms
from wardround.site.folder import SiteFolder
from wardround.site.ledger import FILE as LEDGER
from wardround.site.limits import Limits, counts_planned
from wardround.site.reviewing import asked_so_far, complaints
from wardround.site.rules import rules_text
from wardround.site.telling import Telling
from wardround.study.arrays import Arrays
from wardround.study.errors import PolicyRefused, StoreError
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.task import Answer, Refusal, Update

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
        asked.desk.site.policy.permit(agreed, task(agreed, algorithm.ask(first_state(algorithm)), algorithm.phase, 0), NOON)
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
    most = counts_planned(two)
    folder = ready(join(tmp_path / "a", two, table(), policy(studies=1, counts=most)))
    with asking(folder) as asked:
        assert asked.counts("histogram") and asked.counts("describe")
        asked.ask("describe")  # the same again is no further count
    found = asked_so_far(folder, 1.8e9)
    assert found is not None and found["counts"] == {"asked": most, "most": most, "left": 0}


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
        assert isinstance(found, Refusal) and found.again and found.where == "release"
        assert found.reason == "the site's rule statistics.ledger forbids it"
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
    assert isinstance(found, Refusal) and found.reason == "the hospital's ledger cannot be used"
    assert found.remedy == "Talk to the hospital.", "what the hospital does about it is none of the coordinator's"
    (tmp_path / "ledger" / LEDGER).unlink()
    with asking(folder) as asked:
        found = asked.ask("histogram")
    assert isinstance(found, Refusal) and "statistics.ledger" in found.reason


def in_both(path: Path, first: str, second: str, **rules: Any) -> tuple[Protocol, SiteFolder]:
    """Return a study in one way of adding up, and its hospital, which was told the same table in another way before."""
    before = study(phase("histogram", 'fields = ["sex"]'), "before", combine=first)
    folder = ready(join(path / "a", before, table(), policy(**rules)))
    with asking(folder) as asked:
        telling, algorithm = asked.desk.site.policy.telling, before.by_phase["histogram"]  # type: ignore[attr-defined]
        asked_for = algorithm.ask(first_state(algorithm))
        reply = algorithm.answer(asked_for, read_snapshot(folder.snapshot), {}, None)  # type: ignore[arg-type]
        telling.note(task(before, asked_for, "histogram", 0), reply[1], 1.8e9)
    return study(phase("histogram", 'fields = ["sex"]'), "later", combine=second), folder


@pytest.mark.parametrize("modes", [("plain", "secure"), ("secure", "plain")])
def test_a_field_is_asked_in_plain_sums_or_in_secure_sums_but_not_in_both(tmp_path: Path, modes: tuple[str, str]) -> None:
    """A secure total less what the other hospitals told in plain is this hospital's own count, also of a cell that it held back."""
    later, _ = in_both(tmp_path, *modes)
    assert "in plain sums" in refused(tmp_path / "b", later) and "in secure sums" in refused(tmp_path / "again", later)


def test_other_fields_or_other_patients_may_be_asked_in_the_other_way(tmp_path: Path) -> None:
    later, _ = in_both(tmp_path, "plain", "secure")
    codes = '{ type = "code", codes = ["a", "b"] }'
    ward = study(phase("histogram"), "ward", combine="secure", fields=f"ward = {codes}\nroom = {codes}")
    wards: Table = [{"patient": row["patient"], "ward": "a", "room": "b"} for row in table()]
    ready(join(tmp_path / "b", ward, wards, policy()))
    ready(join(tmp_path / "c", later, table(300, 300), policy()))


def test_after_counts_of_single_patients_no_table_with_a_smallest_count_is_told(tmp_path: Path) -> None:
    """Of a study without a k no table is noted, so a later one cannot be held beside it."""
    told(tmp_path / "a", study(phase("histogram"), "single", least=1), least=1)
    assert "without a smallest count" in refused(tmp_path / "b", TENS)


def test_the_asker_does_not_choose_the_column_by_which_patients_are_known(tmp_path: Path) -> None:
    rows: Table = [{**row, "visit": f"V{number * 7:05}"} for number, row in enumerate(table())]
    told(tmp_path / "a", TENS, rows)
    other = study(phase("histogram", "bins = 10"), "visits", fields=AGE.format(3, 103), patient="visit")
    assert "another column" in refused(tmp_path / "b", other, rows)
    renamed = study(phase("histogram", "bins = 10"), "named", fields=AGE.format(3, 103), patient="person")
    folder = ready(join(tmp_path / "c", renamed, rows, policy(), 'person = "patient"'))
    with asking(folder) as asked:
        assert held(asked.counts("histogram"), "age") > 3, "another name for the same column is fine"


def test_a_refusal_says_nothing_of_patients_and_counts_as_a_study(tmp_path: Path) -> None:
    told(tmp_path / "a", SEX, studies=3)
    folder = join(tmp_path / "b", SEX.changed(study="later"), table()[3:], policy(studies=3))
    prepare(folder)
    with asking(folder) as asked:
        found = [asked.ask("histogram") for _ in range(2)]
    assert all(isinstance(one, Refusal) and one.reason == "the site's rule statistics.ledger forbids it" for one in found)
    logged = json.dumps([entry for entry in hospital.entries(folder) if entry["t"] == "refused"])
    assert "statistics.ledger" in logged and "differ" not in logged and "fewer" not in logged, "the log may be copied to the coordinator"
    so_far = asked_so_far(folder, 1.8e9)
    assert so_far is not None and so_far["studies"]["asked"] == 2 and so_far["counts"]["asked"] == 3
    assert "fewer than 10" in dict(complaints(folder, 1.8e9))["statistics.ledger"], "the hospital reads why"


def test_what_is_out_of_bounds_is_not_noted_as_told(tmp_path: Path) -> None:
    folder = ready(join(tmp_path / "a", SEX, table()))
    with asking(folder) as asked:
        work = asked.desk._worker

        def wrong(task: Any) -> Any:
            answer, proposal = work(task)  # type: ignore[misc]
            return Answer({name: value + 1e9 for name, value in answer.sums.items()}), proposal

        asked.desk._worker = wrong
        assert isinstance(asked.ask("histogram"), Refusal)
    so_far = asked_so_far(folder, 1.8e9)
    assert so_far is not None and so_far["counts"]["asked"] == 0


def test_a_ledger_inside_the_study_is_refused(tmp_path: Path) -> None:
    for place in ("ledger", "../a/ledger", "."):
        folder = join(tmp_path / place.strip("./").replace("/", "-") / "a", SEX, table(), policy(place))
        prepare(folder)
        with pytest.raises(PolicyRefused, match="in the folder of this study"):
            hospital.approve(folder, "officer")


def test_preparing_again_does_not_change_by_which_columns_the_snapshot_in_use_is_known(tmp_path: Path) -> None:
    told(tmp_path / "b", TENS)
    phases = phase("histogram", 'fields = ["sex"]', "one") + phase("histogram", 'fields = ["years"]\nbins = 10', "two")
    two = study(phases, "two", fields=AGE.format(3, 103).replace("age =", "years ="))
    rows: Table = [{**row, "age2": int(str(row["age"])) + 1} for row in table()]
    folder = ready(join(tmp_path / "c", two, rows, policy(), 'years = "age"'))
    with asking(folder) as asked:
        asked.counts("one")
    site_file = folder.path / "site.toml"
    site_file.write_text(site_file.read_text().replace('"age"', '"age2"'))
    prepare(SiteFolder(folder.path), keep=True)
    with asking(SiteFolder(folder.path)) as asked:
        assert held(asked.counts("two"), "years") > 3


@pytest.mark.parametrize(("combine", "named"), [("plain", True), ("secure", False)])
def test_a_study_that_tests_a_model_in_plain_sums_is_held_to_the_hospitals_own_k(tmp_path: Path, combine: str, named: bool) -> None:
    tested = read_protocol(finished_studies.text(least=5, combine=combine), "study.toml")
    found = Telling(tested, Limits(ledger="../ledger", studies=1, counts=1), tmp_path, None).complaints(1.8e9)
    assert ("statistics.smallest_count" in dict(found)) is named


def test_a_ledger_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger").write_text("a file in its place")
    with pytest.raises(StoreError, match="cannot be written") as error:
        prepare(join(tmp_path / "a", SEX, table()))
    assert "policy.toml" in error.value.remedy


def test_a_fresh_file_says_what_a_study_of_statistics_needs(tmp_path: Path) -> None:
    assert tomllib.loads(rules_text(SEX)) == {}
    lines = [re.sub(" +#.*", "", line.removeprefix("# ")) for line in rules_text(SEX).splitlines()]
    text = "\n".join(line for line in lines if re.match(r"[a-z_]+ = |\[", line))
    folder = ready(join(tmp_path / "b" / "a", SEX, table(), text))
    assert folder.rules.statistics is not None and folder.rules.statistics.counts == 3
    assert "# smallest_count = 10 " in rules_text(study(phase("histogram"), least=1)), "the hospital's own k is not the asker's to suggest"
