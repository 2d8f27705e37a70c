"""Tests of a finished model: figures equal to the pooled ones, small groups held back, and models or rows that are refused."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from tests.learning.finished_studies import BIAS, WEIGHTS, logistic, need_onnx, pooled, rows, run, text, write
from wardround import load_study
from wardround.learning.algorithms.assess import Assess, Group, groups_of, hidden_groups
from wardround.learning.assessed import bin_at, division, probability_at, recalibrated
from wardround.learning.finished import digests
from wardround.learning.questions.curves import BINS, histogram
from wardround.simulation import Result
from wardround.study.arrays import put_under
from wardround.study.dataset import Dataset
from wardround.study.errors import DataError, ProtocolError, VerificationError
from wardround.study.protocol.summary import summary
from wardround.study.streams import Stream
from wardround.study.task import Done, State

SIZES = {"north": 400, "south": 300, "east": 150}


@pytest.fixture(scope="module")
def given_rows() -> dict[str, list[dict[str, str]]]:
    need_onnx()
    return rows(SIZES)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, given_rows: Any) -> Result:
    return run(tmp_path_factory.mktemp("plain"), text(phase="subgroups = { sex = [], age = [50, 65], ward = [] }\nbar = 0.6"), given_rows)


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory, given_rows: Any) -> Result:
    return run(tmp_path_factory.mktemp("secure"), text(combine="secure", counts=False), given_rows)


def of(result: Result) -> dict[str, Any]:
    return dict(result.result["metrics"]["model"]["all"])


def test_figures_are_those_of_all_patients_in_one_place(plain: Result, given_rows: Any) -> None:
    p, y, _ = pooled(given_rows)
    found = of(plain)
    assert abs(found["auroc"]["value"] - roc_auc_score(y, p)) < 1e-3
    assert abs(found["brier"]["value"] - brier_score_loss(y, p)) < 1e-3
    assert found["accuracy"]["value"] == pytest.approx(np.mean((p >= 0.5) == y), abs=5.1e-4)
    assert found["auroc"]["low"] < found["auroc"]["value"] < found["auroc"]["high"]
    assert plain.result["patients"] == {"all": len(y), "by_class": {"no": int((1 - y).sum()), "yes": int(y.sum())}}
    assert plain.result["verdict"]["word"] == "meets" and plain.result["bar"] == {"metric": "auroc", "value": 0.6}


def test_calibration_is_that_of_a_regression_on_the_logit(plain: Result, given_rows: Any) -> None:
    p, y, _ = pooled(given_rows)
    logit = np.log(p / (1 - p))
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], y)
    calibration = plain.result["calibration"]
    assert calibration["slope"]["value"] == pytest.approx(fitted.coef_[0, 0], abs=0.01)
    assert calibration["observed_over_expected"]["value"] == pytest.approx(y.sum() / p.sum(), abs=5e-3)
    low, high = -5.0, 5.0
    for _ in range(60):  # the intercept at slope 1 makes the sum of probabilities that of the outcomes
        middle = (low + high) / 2
        low, high = (middle, high) if np.sum(1 / (1 + np.exp(-(logit + middle)))) < y.sum() else (low, middle)
    assert calibration["intercept"]["value"] == pytest.approx(low, abs=0.01)
    assert sum(one["count"] for one in calibration["groups"]) == len(y)
    for one in calibration["groups"]:
        inside = (p >= one["from"]) & (p < one["to"])
        assert (one["count"], one["positives"]) == (inside.sum(), y[inside].sum())


def test_net_benefit_is_that_of_treating_above_the_threshold(plain: Result, given_rows: Any) -> None:
    p, y, _ = pooled(given_rows)
    assert len(plain.result["decision"]) >= 3
    for one in plain.result["decision"]:
        t = one["threshold"]
        treated = p >= t
        expected = (np.sum(treated & (y == 1)) - t / (1 - t) * np.sum(treated & (y == 0))) / len(y)
        assert one["model"]["value"] == pytest.approx(float(f"{expected:.3g}"), rel=1e-9)
        assert one["treat_all"] == pytest.approx(float(f"{y.mean() - t / (1 - t) * (1 - y.mean()):.3g}"), rel=1e-9)


def test_subgroups_are_those_of_all_patients_and_an_empty_one_says_so(secure: Result, given_rows: Any) -> None:
    p, y, everyone = pooled(given_rows)
    shown = [one for one in secure.result["subgroups"] if "metrics" in one]
    assert {one["field"] for one in shown} == {"sex", "age", "ward"}
    for one in shown:
        if "code" in one:
            inside = np.array([row[one["field"]] == one["code"] for row in everyone])
        else:
            age = np.array([float(row["age"]) for row in everyone])
            inside = (age >= (one["from"] or -np.inf)) & (age < (one["below"] or np.inf))
        assert one["patients"] == inside.sum() and one["by_class"]["yes"] == y[inside].sum()
        assert abs(one["metrics"]["auroc"]["value"] - roc_auc_score(y[inside], p[inside])) < 2e-3
    (never,) = [one for one in secure.result["subgroups"] if one.get("code") == "never"]
    assert never["patients"] == 0 and never["note"] == "no patient is in this subgroup"


def test_plain_and_secure_sums_give_the_same_figures(plain: Result, secure: Result) -> None:
    for name in ("metrics", "calibration", "decision", "patients"):
        one, other = plain.result[name], secure.result[name]
        values = (one["model"]["all"], other["model"]["all"]) if name == "metrics" else (one, other)
        assert _values(values[0]) == _values(values[1])


def _values(found: Any) -> Any:
    """Return figures without intervals, whose weights are drawn anew in each folder."""
    if isinstance(found, dict):
        return {name: _values(one) for name, one in found.items() if name not in ("low", "high")}
    return [_values(one) for one in found] if isinstance(found, list) else found


def test_each_site_has_its_own_figures_and_verdict(plain: Result, given_rows: Any) -> None:
    sites = plain.result["metrics"]["model"]["sites"]
    for site in SIZES:
        p, y, _ = pooled({site: given_rows[site]})
        assert abs(sites[site]["auroc"]["value"] - roc_auc_score(y, p)) < 5e-3
    assert set(plain.result["verdicts"].values()) <= {"meets", "misses", "cannot_say"} and set(plain.result["verdicts"]) == set(SIZES)
    assert plain.result["verdicts"]["north"] == "meets"


def protocol(folder: Path, **changes: Any) -> Any:
    write(folder, text(**changes), {})
    read = load_study(folder / "study.toml").protocol
    return read.changed(initial=digests(read, read.brought))


def data(count: int = 80, ill: float = 0.5, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    columns = {
        "age": np.clip(rng.normal(60, 10, count), 0, 120),
        "chol": np.full(count, 200.0),
        "sex": (np.arange(count) % 2).astype(np.int32),
        "ward": np.zeros(count, dtype=np.int32),
        "ill": (np.arange(count) < ill * count).astype(np.int32),
    }
    return Dataset(columns, np.arange(count), np.full(count, 2, dtype=np.int8))


def answered(agreed: Any, held: Dataset, arrays: Any = None) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    phase = agreed.algorithms[0]
    assert isinstance(phase, Assess)
    state = phase.begin(agreed, {"initial": Done("initial", 0, agreed.brought if arrays is None else arrays)}, Stream.public(0))
    assert isinstance(state, State)
    answer, kept = phase.answer(phase.ask(state), held, {}, Stream.public(1))
    return dict(answer.sums), dict(kept or {})


def test_a_site_tests_no_other_file_than_the_protocols(tmp_path: Path, given_rows: Any) -> None:
    agreed = protocol(tmp_path)
    other = {"file": np.frombuffer(logistic(bias=-1.0), dtype=np.uint8)}
    answered(agreed, data())
    with pytest.raises(VerificationError, match="not the one in the protocol"):
        answered(agreed, data(), other)
    with pytest.raises(VerificationError, match="not the one in the protocol"):
        answered(agreed, data(), put_under("else", agreed.brought))


@pytest.mark.parametrize("part", ["file", "model"])
def test_a_site_tests_no_file_of_which_one_digest_is_anothers(tmp_path: Path, given_rows: Any, part: str) -> None:
    """People compare and sign the digest of the file; that of the arrays alone binds nobody."""
    agreed = protocol(tmp_path)
    other = {**agreed.initial, part: digests(agreed, {"file": np.frombuffer(logistic(bias=-1.0), dtype=np.uint8)})[part]}
    with pytest.raises(VerificationError, match="not the one in the protocol"):
        answered(agreed.changed(initial=other), data())
    without = {name: one for name, one in agreed.initial.items() if name != part}
    with pytest.raises(VerificationError, match="not the one in the protocol"):
        answered(agreed.changed(initial=without), data())


def test_a_file_that_is_too_large_is_not_tested(tmp_path: Path, given_rows: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    agreed = protocol(tmp_path)
    monkeypatch.setattr("wardround.learning.finished.MOST_BYTES", len(logistic()) - 1)
    with pytest.raises(VerificationError, match="has more than"):
        answered(agreed, data())
    with pytest.raises(ProtocolError, match="has more than"):
        load_study(tmp_path / "study.toml")


def test_the_signed_page_promises_no_more_than_holds(tmp_path: Path, given_rows: Any) -> None:
    page = " ".join(str(line) for part in summary(protocol(tmp_path)) for line in part.lines)
    assert "process without network" not in page and "the system does not enforce it" in page
    assert "one patient's row at a time" in page and "Test only models whose maker you trust" in page


def test_small_groups_stay_at_a_site_of_plain_sums_and_what_it_keeps_is_whole(tmp_path: Path, given_rows: Any) -> None:
    held = data(80)
    held.columns["ward"][:4] = 1
    sums, kept = answered(protocol(tmp_path / "plain"), held)
    groups = protocol(tmp_path / "again").algorithms[0].groups
    of_ward = [place for place, one in enumerate(groups) if one.field == "ward"]
    assert sums["held"][0] == 0 and all(sums["held"][1 + place] == 1 for place in of_ward), "the rest would tell the four"
    for place in of_ward:
        assert not np.any(sums[f"groups/{place}/patients"]) and not np.any(sums[f"groups/{place}/test/histogram"])
    assert kept[f"groups/{of_ward[1]}/patients"][0] == 4
    sums, _ = answered(protocol(tmp_path / "secure", combine="secure", counts=False), held)
    assert not np.any(sums["held"]) and sums[f"groups/{of_ward[1]}/patients"][0] == 4


@pytest.mark.parametrize(("count", "ill"), [(9, 0.5), (80, 0.05)])
def test_a_site_with_too_few_holds_everything_back(tmp_path: Path, given_rows: Any, count: int, ill: float) -> None:
    sums, kept = answered(protocol(tmp_path), data(count, ill))
    assert np.all(sums.pop("held") == 1) and not any(np.any(one) for one in sums.values())
    assert kept["model/patients"][0] == count


def test_several_rows_of_a_patient_are_refused_where_counts_must_be_large(tmp_path: Path, given_rows: Any) -> None:
    twice = replace(data(), patient=np.arange(80) // 2)
    with pytest.raises(DataError, match="several rows"):
        answered(protocol(tmp_path / "strict"), twice)
    sums, _ = answered(protocol(tmp_path / "free", least=1), twice)
    assert sums["model/patients"][0] == 40 and sums["model/test/histogram"][0].sum() == 80


def test_the_layout_is_that_of_the_answer(tmp_path: Path, given_rows: Any) -> None:
    agreed = protocol(tmp_path)
    phase = agreed.algorithms[0]
    ask = phase.ask(State("test", 0, put_under("model", agreed.brought)))
    sums, _ = answered(agreed, data())
    assert [term.name for term in ask.layout] == list(sums)
    assert all(tuple(np.shape(sums[term.name])) == term.shape and np.all(sums[term.name] <= term.limit) for term in ask.layout)


CELLS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=6)


@given(CELLS, st.integers(2, 15))
def test_no_count_under_k_follows_from_the_subgroups_shown(cells: list[tuple[int, int]], least: int) -> None:
    groups = tuple(Group("f", code=place) for place in range(len(cells)))
    tallies = [np.array([sum(one), *one]) for one in cells]
    hidden = hidden_groups(groups, tallies, least)
    for number in (1, 2):
        shown = [int(tally[number]) for tally, hide in zip(tallies, hidden, strict=True) if not hide]
        rest = sum(int(tally[number]) for tally in tallies) - sum(shown)
        assert all(one == 0 or one >= least for one in shown)
        assert rest == 0 or rest >= 2 * least - 1 or not any(shown)
    if all(one == 0 or one >= least for pair in cells for one in pair):
        assert not np.any(hidden)


def test_which_subgroup_covers_does_not_go_by_size() -> None:
    groups = tuple(Group("f", code=place) for place in range(4))
    flags = [hidden_groups(groups, [np.array([one, one, 0]) for one in cells], 10).tolist() for cells in ((50, 4, 90, 30), (50, 4, 30, 90))]
    assert flags[0] == flags[1] == [False, True, True, False]


def test_a_hidden_count_follows_from_no_table_as_far_as_the_rule_tells() -> None:
    """Every table of three subgroups and one class is played against those that look the same from outside."""
    groups, least, most = tuple(Group("f", code=place) for place in range(3)), 3, 9
    alike: dict[Any, list[tuple[int, ...]]] = {}
    for cells in itertools.product(range(most), repeat=3):
        if sum(cells) < least:
            continue
        hidden = hidden_groups(groups, [np.array([one, one]) for one in cells], least)
        key = (sum(cells), tuple(hidden), tuple(one for one, hide in zip(cells, hidden, strict=True) if not hide))
        alike.setdefault(key, []).append(cells)
    exact = 0
    for (total, hidden, shown), worlds in alike.items():
        for place in np.flatnonzero(hidden) if total - sum(shown) < most else ():  # else a table that looks the same may lie outside
            values = {one[place] for one in worlds}
            exact += len(values) == 1 and 0 < min(values) < least
    assert exact == 0


def test_k_of_two_with_subgroups_is_refused(tmp_path: Path, given_rows: Any) -> None:
    write(tmp_path, text(least=2), {})
    with pytest.raises(ProtocolError, match="smallest_count"):
        load_study(tmp_path / "study.toml")


def scored_by_age(cells: list[tuple[int, float, str, str]]) -> list[dict[str, str]]:
    """Return rows whose probability, by a model of age alone, is the one given: how many, probability, outcome, sex."""
    found: list[dict[str, str]] = []
    for count, p, ill, sex in cells:
        age = f"{60 + 10 * math.log(p / (1 - p)):.3f}"
        for _ in range(count):
            place = len(found)
            found.append({"patient": str(place), "age": age, "chol": "200", "sex": sex, "ward": "ab"[place % 2], "ill": ill})
    return found


BY_AGE = (np.array([0.1, 0.0, 0.0]), -6.0)


def judged_by_age(folder: Path, phase: str, cells: list[tuple[int, float, str, str]]) -> dict[str, Any]:
    study = text(sites=1, phase=phase, replicates=0).replace('["auroc", "brier"]', '["auroc", "accuracy"]')
    return dict(run(folder, study, {"a": scored_by_age(cells)}, logistic(*BY_AGE)).result)


def test_errors_at_one_half_are_told_only_where_the_division_has_that_edge(tmp_path: Path, given_rows: Any) -> None:
    cells = [
        (60, 0.2, "no", "f"),
        (30, 0.2, "yes", "m"),
        (40, 0.45, "no", "f"),
        (3, 0.45, "yes", "m"),
        (40, 0.7, "no", "f"),
        (60, 0.7, "yes", "m"),
    ]
    found = judged_by_age(tmp_path / "small", "thresholds = [0.4, 0.5]", cells)
    assert len(found["calibration"]["groups"]) == 2 and not {"accuracy", "balanced_accuracy"} & set(found["metrics"]["model"]["all"])
    cells[3] = (30, 0.45, "yes", "m")
    found = judged_by_age(tmp_path / "large", "thresholds = [0.4, 0.5]", cells)
    assert len(found["calibration"]["groups"]) == 3 and found["metrics"]["model"]["all"]["accuracy"]["value"] == pytest.approx(
        160 / 260, abs=5e-4
    )
    assert not any(name in one for one in found["metrics"]["model"]["sites"].values() for name in ("accuracy", "balanced_accuracy"))


def test_errors_at_one_half_are_told_of_all_of_a_fields_subgroups_or_of_none(tmp_path: Path, given_rows: Any) -> None:
    men = [(70, 0.2, "no", "m"), (30, 0.2, "yes", "m"), (30, 0.7, "no", "m"), (60, 0.7, "yes", "m")]
    women = [(80, 0.2, "no", "f"), (4, 0.2, "yes", "f"), (30, 0.7, "no", "f"), (60, 0.7, "yes", "f")]
    for missed, shown in ((4, False), (14, True)):
        women[1] = (missed, 0.2, "yes", "f")
        found = judged_by_age(tmp_path / str(missed), "subgroups = { sex = [] }\nthresholds = [0.5]", men + women)
        assert "accuracy" in found["metrics"]["model"]["all"]
        assert ["accuracy" in one["metrics"] for one in found["subgroups"]] == [shown, shown]


def numbers(found: Any) -> list[float]:
    """Return every number in JSON values that is not whole."""
    if isinstance(found, dict):
        return [one for name, part in found.items() if name not in ("from", "to", "threshold") for one in numbers(part)]
    if isinstance(found, list):
        return [one for part in found for one in numbers(part)]
    return [found] if isinstance(found, float) else []


def test_no_figure_has_more_than_three_places(plain: Result) -> None:
    told = numbers({name: plain.result[name] for name in ("metrics", "calibration", "decision", "subgroups")})
    assert len(told) > 100 and all(float(f"{one:.3g}") == one for one in told)


@pytest.mark.parametrize(("scale", "shift", "word"), [(1, 0, "meets"), (1, -25, "cannot_say"), (200, 0, "cannot_say")])
def test_scores_beyond_what_is_counted_are_warned_of_and_give_no_verdict(
    tmp_path: Path, given_rows: Any, scale: int, shift: int, word: str
) -> None:
    model = logistic(WEIGHTS * scale, BIAS * scale + shift, outputs=2)
    found = run(tmp_path, text(phase="bar = 0.6", model='gives = "logit"\noutput = "logit"'), given_rows, model).result
    assert found["verdict"]["word"] == word and any("12 logits" in one for one in found["warnings"]) == (word == "cannot_say")
    if word == "cannot_say":
        assert set(found["verdicts"].values()) == {"cannot_say"} and "12 logits" in found["verdict_notes"]["north"]


@pytest.mark.parametrize(("sizes", "declared"), [({"a": 90, "b": 80, "c": 6}, 0), ({"a": 90, "b": 80, "c": 63}, 3)])
def test_a_sites_counts_give_no_small_number_away(tmp_path: Path, given_rows: Any, sizes: dict[str, int], declared: int) -> None:
    listed = rows(sizes)
    for site, held in listed.items():
        for place, row in enumerate(held):
            row["part"] = "old" if site == "c" and place < declared else "new"
    files = write(tmp_path, text(combine="secure", counts=False, replicates=0, phase=""), listed)
    for path in files:
        path.write_text(path.read_text() + '[split]\ncolumn = "part"\ntrain = ["old"]\ntest = ["new"]\n')
    from wardround import simulate

    found = simulate(load_study(tmp_path / "study.toml"), files, tmp_path / "run").result
    shown = [one["test"] for one in found["sites"].values() if "test" in one]
    rest = found["patients"]["all"] - sum(shown)
    assert rest == 0 or rest >= 10
    brought = [one["patients"] for one in found["sites"].values() if isinstance(one["patients"], int)]
    assert not declared or (brought == [] and shown == [])


def test_an_interval_of_calibration_is_that_of_replicates_by_patient(tmp_path: Path, given_rows: Any) -> None:
    """Five rows of each patient say no more than one does."""
    once = {site: held[:100] for site, held in given_rows.items()}
    five = {site: [row for row in held for _ in range(5)] for site, held in once.items()}
    widths = []
    for name, held in (("once", once), ("five", five)):
        study = text(least=1, phase="thresholds = [0.3]", replicates=200).replace("[contract]\n", '[contract]\npatient = "patient"\n')
        groups = run(tmp_path / name, study, held).result["calibration"]["groups"]
        assert sum(one["count"] for one in groups) == (300 if name == "once" else 1500)
        widths.append(groups[0]["high"] - groups[0]["low"])
    assert 0.7 < widths[1] / widths[0] < 1.4


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(0, 400))
def test_cells_of_scores_hold_nobody_or_k_of_a_class(seed: int, least: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    hist = histogram(rng.normal(0, 3, count), rng.random(count) < 0.4, None)
    edges = division(hist, (0.01, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.99), least)
    if not edges:
        return
    for low, high in zip((0, *edges), (*edges, BINS), strict=True):
        assert all(one == 0 or one >= least for one in hist[:, low:high].sum(axis=1))


def test_edges_of_bins_are_told_as_they_are() -> None:
    for wanted in (0.05, 0.2, 0.5, 0.97):
        assert abs(probability_at(bin_at(wanted)) - wanted) < 0.013
    assert probability_at(bin_at(0.5)) == 0.5 and bin_at(1e-9) == 1 and bin_at(1 - 1e-12) == BINS - 1


def test_calibration_does_not_exist_where_scores_divide_the_classes_or_one_is_absent() -> None:
    apart = np.zeros((3, 2, BINS), dtype=np.int64)
    apart[0, 0, :100], apart[0, 1, 150:] = 5, 5
    apart[1, 0, 50:200] = 3
    apart[2, :, 100:156] = 2
    slope, intercept = recalibrated(apart)
    assert math.isnan(slope[0]) and math.isnan(slope[1]) and math.isnan(intercept[1])
    assert abs(slope[2]) < 1e-6 and abs(intercept[2]) < 0.1


def test_subgroups_divide_all_rows(tmp_path: Path, given_rows: Any) -> None:
    agreed, held = protocol(tmp_path), data()
    held.columns["ward"][:7] = -1
    found = groups_of(agreed.contract, {"age": (50.0, 65.0), "ward": (), "sex": ()})
    for name in ("age", "ward", "sex"):
        inside = sum(one.rows(held.columns, np.arange(80)).astype(int) for one in found if one.field == name)
        assert np.all(inside == 1), name


def test_one_site_and_two_sites_are_said_plainly(tmp_path: Path) -> None:
    need_onnx()
    for count, says in ((1, "Only one site took part"), (2, "Two sites took part")):
        found = run(tmp_path / str(count), text(sites=count), rows(dict(list({"a": 200, "b": 150}.items())[:count])))
        assert says in found.result["warnings"][0] and of(found)["auroc"]["value"] > 0.6


def test_too_few_patients_in_all_give_no_figure(tmp_path: Path) -> None:
    need_onnx()
    found = run(tmp_path, text(sites=3, combine="secure", counts=False, phase="bar = 0.7"), rows({"a": 4, "b": 3, "c": 2})).result
    assert found["patients"] == "withheld" and found["metrics"]["model"]["all"] == {} and "calibration" not in found
    assert found["verdict"]["word"] == "cannot_say" and "no figure is given" in found["warnings"][-1]


def test_rows_that_a_site_declares_as_training_rows_are_not_tested(tmp_path: Path) -> None:
    need_onnx()
    listed = rows({"a": 300})["a"]
    for place, row in enumerate(listed):
        row["part"] = "old" if place < 100 else "new"
    files = write(tmp_path, text(sites=1), {"a": listed})
    files[0].write_text(files[0].read_text() + '[split]\ncolumn = "part"\ntrain = ["old"]\ntest = ["new"]\n')
    from wardround import simulate

    found = simulate(load_study(tmp_path / "study.toml"), files, tmp_path / "run").result
    assert found["patients"]["all"] == 200


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.update(ill="1"), "ill"),
        (lambda row: row.pop("age"), "age: there is no column"),
        (lambda row: row.pop("chol"), "chol: there is no column"),
        (lambda row: row.update(sex=""), "sex: is missing"),
    ],
)
def test_a_label_in_other_codes_and_missing_inputs_are_refused_before_anything_is_asked(tmp_path: Path, change: Any, says: str) -> None:
    need_onnx()
    listed = rows({"a": 60})["a"]
    for row in listed:
        change(row)
    with pytest.raises(DataError) as caught:
        run(tmp_path, text(sites=1), {"a": listed})
    assert says in caught.value.message


def test_a_site_without_a_subgroups_field_counts_as_missing_there(tmp_path: Path) -> None:
    need_onnx()
    listed = rows({"a": 200})["a"]
    for row in listed:
        row.pop("ward")
    found = run(tmp_path, text(sites=1), {"a": listed}).result
    (missing,) = [one for one in found["subgroups"] if one.get("missing")]
    assert missing["patients"] == 200


def test_a_question_of_several_codes_has_areas_and_no_decision_curve(tmp_path: Path) -> None:
    need_onnx()
    from onnx import TensorProto, helper, numpy_helper

    constants = [numpy_helper.from_array(np.array([[0.05, 0.0, -0.05]] * 1, dtype=np.float32), "w")]
    steps = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Softmax", ["z"], ["p"], axis=1)]
    takes, gives = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 1), ("p", 3)))
    graph = helper.make_graph(steps, "three", [takes], [gives], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    study = text(sites=1, phase="subgroups = { sex = [] }", inputs='["age"]').replace('kind = "binary"', 'kind = "multiclass"')
    study = study.replace("fill = { chol = 200 }", "").replace('missing = "count" }\nsex', "input = false }\nsex")
    study = study.replace('sex = { type = "code", codes = ["f", "m"] }', 'sex = { type = "code", codes = ["f", "m"], input = false }')
    study = study.replace('codes = ["no", "yes"]', 'codes = ["mild", "some", "grave"]')
    rng, listed = np.random.default_rng(5), rows({"a": 300})["a"]
    for row in listed:
        row["ill"] = str(rng.choice(["mild", "some", "grave"], p=[0.5, 0.3, 0.2]))
        row["chol"] = row["chol"] or "200"
    found = run(tmp_path, study, {"a": listed}, model).result
    x = np.array([[float(row["age"])] for row in listed]) @ np.array([[0.05, 0.0, -0.05]])
    p = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    y = np.array([["mild", "some", "grave"].index(row["ill"]) for row in listed])
    expected = roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert abs(of_result(found)["auroc"]["value"] - expected) < 5e-3
    assert "calibration" not in found and "decision" not in found and set(found["patients"]["by_class"]) == {"mild", "some", "grave"}


def of_result(found: Any) -> dict[str, Any]:
    return dict(found["metrics"]["model"]["all"])
