"""What is written gives no small count away: by subtracting, by a test or a mean, by a second question, or by many rows of one patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.learning.statistics.studies import PHASES, Rows, codes, column, plan, rows, run, text
from wardround.learning.statistics.statistic import TOOK_PART
from wardround.learning.statistics.survival import NOT_TOLD, Survival, _log_rank, _shown
from wardround.study.errors import DataError
from wardround.study.findings import FileRefused
from wardround.study.protocol.load import read_protocol

K = 10
TIMES = 'time = "days"\nevent = "died"\nhappened = "yes"\n'


def survival(ends: np.ndarray, least: int = K, missing: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """Return the table of a survival phase without groups over 51 days; `ends` [cells, 2] are the first cells and the late one."""
    protocol = read_protocol(text("secure", least, ["survival"], options={"survival": f"{TIMES}until = 50"}), "study.toml")
    asked = protocol.by_phase["survival"]
    assert isinstance(asked, Survival)
    whole = np.zeros((1, asked.cells + 1, 2))
    whole[0, : len(ends) - 1], whole[0, -1] = ends[:-1], ends[-1]
    results = {"ends": whole, "ends/held": np.asarray(0.0), "missing": np.array(missing, dtype=np.float64), TOOK_PART: np.asarray(3.0)}
    return asked.told(results)


def test_what_remains_after_the_last_stretch_is_none_or_large() -> None:
    ends = np.array([[0, 20], [10, 0], [0, 12], [15, 4], [0, 0]])
    assert _shown(ends, K) == [0, 1, 3], "after day 2, 4 events and 15 ends would remain: the last stretch takes them in"
    ends[-1] = [4, 0]
    assert _shown(ends, K) == [0, 1], "4 beyond the grid would remain"
    curve = survival(ends)["groups"][0]
    shown = {name: sum(one[name] for one in curve["points"]) for name in ("events", "censored")}
    assert curve["events"] - shown["events"] == 16 and curve["rows"] - curve["events"] - shown["censored"] == 19


def test_few_events_beyond_the_end_leave_counts_out() -> None:
    ends = np.array([[0, 20], [30, 0], [20, 3]])
    curve = survival(ends)["groups"][0]
    assert curve["rows"] == curve["events"] == "withheld" and curve["points"][0]["at_risk"] is None
    ends[-1, 1] = 0
    assert survival(ends)["groups"][0]["events"] == 20


def test_a_small_group_takes_the_sizes_of_others_with_it(tmp_path: Path) -> None:
    given = rows()
    for listed in given.values():
        for row in listed[:2]:
            row["ward"] = "never"
    found = run(tmp_path, plan("secure", K, ["describe", "survival"]), given)["statistics"]["survival"]
    assert [one["rows"] for one in found["groups"]] == ["withheld"] * 3
    assert found["log_rank"]["chi_square"] is None and found["log_rank"]["p"] is None


def test_other_tables_that_count_patients_without_a_time_leave_counts_out(tmp_path: Path) -> None:
    given = rows()
    for listed in given.values():
        for row in listed[:10]:
            row["days"] = ""
    for kinds, told in ((["survival"], True), (["survival", "crosstab"], False)):
        curve = run(tmp_path / str(told), plan("secure", K, kinds), given)["statistics"]["survival"]["groups"][0]
        assert isinstance(curve["rows"], int) == told, "of those without a time, few may have had the event"
    binned = text("secure", K, ["histogram", "survival"], options={"histogram": 'fields = ["days"]\nbins = 10'})
    curve = run(tmp_path / "binned", read_protocol(binned, "study.toml"), rows())["statistics"]["survival"]["groups"][0]
    assert curve["rows"] == "withheld" and curve["points"][0]["survival"] == round(curve["points"][0]["survival"], 2)


def test_a_median_is_told_only_where_the_crossing_is_known() -> None:
    sharp = np.array([[0, 0], [0, 20], [0, 30], [40, 0], [0, 0]])
    assert survival(sharp)["groups"][0]["median"] == 2.0
    late = np.array([[0, 0], [0, 20], [0, 4], [0, 26], [40, 0], [0, 0]])
    assert survival(late)["groups"][0]["median"] == NOT_TOLD, "the stretch that ends on day 3 began on day 2"
    assert survival(late, 1)["groups"][0]["median"] == 3.0


def test_a_wide_step_is_labelled_by_its_end(tmp_path: Path) -> None:
    given = rows()
    study = text("plain", 1, ["survival"], options={"survival": f"{TIMES}until = 56\nstep = 7"})
    points = run(tmp_path, read_protocol(study, "study.toml"), given)["statistics"]["survival"]["groups"][0]["points"]
    days, died = column(given, "days"), codes(given, "died") == "yes"
    assert points[0]["time"] == 0.0 and points[0]["events"] == int((died & (days == 0)).sum())
    assert points[1]["time"] == 7.0 and points[1]["events"] == int((died & (days > 0) & (days <= 7)).sum())


def test_a_group_never_at_risk_at_an_event_is_no_degree_of_freedom() -> None:
    ends = np.zeros((3, 10, 2))
    ends[0, 5, 1], ends[0, 9, 0], ends[1, 5, 1], ends[1, 9, 0], ends[2, 1, 0] = 10, 10, 3, 17, 15
    assert _log_rank(ends) == _log_rank(ends[:2])


def test_the_test_has_two_digits_where_cells_are_hidden(tmp_path: Path) -> None:
    given = rows()
    full = run(tmp_path / "1", plan("secure", 1, ["survival"]), given)["statistics"]["survival"]["log_rank"]
    found = run(tmp_path / "10", plan("secure", K, ["survival"]), given)["statistics"]["survival"]["log_rank"]
    assert found["chi_square"] == float(f"{full['chi_square']:.2g}")
    sharp = np.stack([np.array([[0, 17], [20, 0], [0, 0]]), np.array([[0, 11], [27, 0], [0, 0]])])
    asked = plan("secure", K, ["survival"]).by_phase["survival"]
    assert isinstance(asked, Survival)
    two = asked._test(sharp, False)
    assert two["chi_square"] == float(f"{two['chi_square']:.2g}") != _log_rank(sharp)["chi_square"]
    assert asked._test(sharp, True)["p"] is None


def test_chi_square_is_withheld_with_a_cell(tmp_path: Path) -> None:
    given = rows()
    for number, row in enumerate(row for listed in given.values() for row in listed):
        row.update(sex="f" if number % 2 else "m", died="yes" if number in (1, 3, 5) or number % 6 == 0 else "no")
    found = run(tmp_path, plan("secure", K, ["histogram", "crosstab"]), given)["statistics"]["crosstab"]
    assert found["cells"][0][1]["count"] == "withheld"
    assert found["chi_square"] is None and found["p"] is None and found["note"] == "withheld"


def test_a_mean_is_withheld_with_its_count(tmp_path: Path) -> None:
    given = rows()
    for listed in given.values():
        listed[0]["age"] = ""
    found = run(tmp_path, plan("secure", K, ["describe", "correlation"]), given)["statistics"]
    age = next(one for one in found["describe"]["fields"] if one["field"] == "age")
    assert age["missing"]["count"] == age["known"]["count"] == "withheld"
    assert age["mean"] is None and age["deviation"] is None
    pair = found["correlation"]["pairs"][0]
    assert pair["r"] == round(pair["r"], 2) and pair["low"] is None, "an interval tells how many rows there are"


@pytest.mark.parametrize("combine", ["plain", "secure"])
def test_several_rows_a_patient_are_refused(combine: str) -> None:
    from tests.learning.statistics.test_holding_back import site
    from wardround.learning.statistics.leaving import Leaving
    from wardround.learning.statistics.statistic import Statistic

    data = site()
    many = type(data)(data.columns, np.zeros(len(data), dtype=np.int64), data.role)
    asked, one = (plan(combine, least, ["describe"]).by_phase["describe"] for least in (K, 1))
    assert isinstance(asked, Statistic) and isinstance(one, Statistic)
    with pytest.raises(DataError, match="several rows") as caught:
        Leaving(asked, many, {})
    assert "one row a patient" in str(caught.value.remedy)
    assert Leaving(one, many, {}).proposal is None


@pytest.mark.parametrize(
    ("kind", "first", "second"),
    [
        ("crosstab", PHASES["crosstab"], 'rows = "died"\ncolumns = "sex"'),
        ("survival", f"{TIMES}until = 20", f"{TIMES}until = 21"),
        ("quantiles", 'fields = ["age"]', 'fields = ["age"]\nat = [0.4]'),
    ],
)
def test_a_second_question_about_the_same_is_refused(kind: str, first: str, second: str) -> None:
    for least in (1, K):
        study = text("secure", least, [kind], options={kind: first})
        study = study.replace("[rounds]", f'[[phases]]\nname = "again"\nkind = "{kind}"\n{second}\n[rounds]')
        if least == 1:
            assert read_protocol(study, "study.toml")
            continue
        with pytest.raises(FileRefused) as caught:
            read_protocol(study, "study.toml")
        (finding,) = caught.value.findings
        assert "again" in finding.key and "already" in finding.wrong and "Leave one" in finding.remedy


def test_shares_too_near_to_each_other_are_withheld(tmp_path: Path) -> None:
    at = [0.4, 137.5 / 280, 138.5 / 280, 0.6]
    study = text("secure", K, ["quantiles"], options={"quantiles": f'fields = ["age"]\nat = {at}\nbins = 10\nrounds = 2'})
    (found,) = run(tmp_path, read_protocol(study, "study.toml"), rows())["statistics"]["quantiles"]["fields"]
    assert [one["from"] is None for one in found["quantiles"]] == [False, True, True, False]


def without(sizes: dict[str, int], least: int, folder: Path) -> tuple[dict[str, Any], str]:
    result = run(folder, plan("plain" if least > K else "secure", least, ["describe"]), rows(sizes))
    return {name: one["patients"] for name, one in result["sites"].items()}, (folder / "run" / "report.html").read_text()


def test_a_small_site_does_not_follow_from_the_total(tmp_path: Path) -> None:
    counts, page = without({"north": 150, "south": 90, "east": 6}, K, tmp_path / "a")
    assert list(counts.values()).count("withheld") == 2 and counts["east"] == "withheld" and ">150<" not in page
    counts, page = without({"north": 150, "south": 90, "east": 12}, 25, tmp_path / "b")
    assert counts["east"] == "withheld" and ">12<" not in page, "k, not 10"


def test_a_field_may_be_called_sites(tmp_path: Path) -> None:
    study = text("secure", 1, ["histogram"]).replace("sex = {", "sites = {").replace("bins = 10", 'fields = ["sites"]')
    given: Rows = {
        name: [{("sites" if key == "sex" else key): one for key, one in row.items()} for row in many] for name, many in rows().items()
    }
    found = run(tmp_path, read_protocol(study, "study.toml"), given)["statistics"]["histogram"]
    assert found["of_sites"] == 3 and sum(cell["count"] for cell in found["fields"][0]["cells"]) == 280


def test_what_64_bits_cannot_hold_is_not_told(tmp_path: Path) -> None:
    given, rng = rows(), np.random.default_rng(1)
    for listed in given.values():
        for row in listed:
            weight = rng.normal(12, 1)
            row.update(weight=f"{weight:.3f}", age=f"{2 * weight + rng.normal():.3f}")
    for end, fine in ((200, True), (10**9, False)):
        study = text("secure", 1, ["describe", "correlation"]).replace("[0, 200]", f"[0, {end}]").replace("[0, 100]", f"[0, {end}]")
        found = run(tmp_path / str(end), read_protocol(study, "study.toml"), given)["statistics"]
        one = next(one for one in found["describe"]["fields"] if one["field"] == "weight")
        r = found["correlation"]["pairs"][0]["r"]
        if fine:
            values = column(given, "weight")
            assert one["deviation"] == pytest.approx(values.std(ddof=1)) and one["mean"] == pytest.approx(values.mean()) and 0.5 < r < 1
        else:
            assert one["deviation"] is None and "range" in one["note"] and r is None
