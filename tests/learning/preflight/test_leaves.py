"""Nothing that leaves a hospital in a preflight is about fewer than k patients, whatever its rows hold."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.preflight.hospitals import algorithm, dataset, hospitals, plan, results, rows, told
from wardround.combining.fixedpoint import packed, unpack
from wardround.learning.preflight.groups import AT_THE_END, NEARLY_ALL, SET_APART, means, shared
from wardround.learning.preflight.layout import Shape
from wardround.learning.preflight.site import may_be_told, ranks, told_apart
from wardround.learning.preflight.unnamed import unnamed, whose
from wardround.learning.preflight.verdicts import Compared
from wardround.preflight import unsized
from wardround.privacy.disclosure import held_back
from wardround.privacy.folding import Folded
from wardround.study.errors import ProtocolError
from wardround.study.streams import Stream
from wardround.study.task import State

K, RNG = 10, Stream.public(1)


@given(st.lists(st.integers(0, 60), min_size=2, max_size=8), st.integers(1, 20))
def test_a_folded_table_holds_no_small_count_and_could_be_the_true_one(counts: list[int], least: int) -> None:
    table = Folded.of(np.array(counts), least)
    assert not np.any((table.told > 0) & (table.told < least))
    if table.total:
        assert table.total == sum(counts)
        low, high = table.could_be(least)
        assert np.all(low <= np.array(counts)) and np.all(np.array(counts) <= high)
        assert not np.any(table.few & (np.array(counts) >= least))
    else:
        assert sum(counts) < least or max(counts) < least


@given(st.lists(st.integers(-4, 4), min_size=0, max_size=120), st.integers(2, 15))
def test_a_value_that_is_told_is_one_of_k_patients(values: list[int], least: int) -> None:
    z = np.array(values, dtype=np.float64)
    kind, value = shared(z, least)
    if kind in (SET_APART, AT_THE_END, NEARLY_ALL):
        rest = np.sum(z != value)
        assert np.sum(z == value) >= least
        assert rest < least if kind == NEARLY_ALL else rest >= least
    else:
        assert value == 0
    assert kind != AT_THE_END or (value in (z.min(), z.max()) and abs(value) >= 1)


@given(st.lists(st.integers(-40, 40), min_size=1, max_size=160), st.integers(1, 15), st.integers(0, 14))
def test_means_are_over_k_patients_on_a_grid_and_leave_out_the_ends(values: list[int], least: int, unsure: int) -> None:
    known = np.sort(np.array(values, dtype=np.float64))
    groups, quarters, _ = means(known, len(known) - unsure, least)
    if not groups:
        assert not quarters.any()
        return
    inner = known[1:-1]
    assert len(inner) >= groups * least, "neither the lowest nor the highest is in any mean, however small k is"
    steps = quarters / 2.0**-40
    assert np.array_equal(steps, np.round(steps))
    assert quarters[0] >= inner[:least].mean() - _step_of(known, least) and quarters[-1] <= inner[-least:].mean() + _step_of(known, least)


def _step_of(known: np.ndarray, least: int) -> float:
    """Return no less than the grid's step: a sixteenth of the widest that a spread can be, or twice the values' own steps over k."""
    return float(np.ptp(known) / 16 + 2 * np.max(np.diff(np.unique(known)), initial=0.0) / least + 1e-9)


@given(st.integers(0, 500), st.integers(60, 300))
def test_one_patient_more_behind_a_mean_is_within_its_rounding(seed: int, count: int) -> None:
    known = np.sort(np.round(np.random.default_rng(seed).normal(60, 12, count)))
    groups, quarters, _ = means(known, count - 9, 10)
    if groups:
        size = (0.225 if groups == 4 else 0.45) * count
        assert size * _finest(quarters) >= 1, "a sum of years, told to less than a year, gives the number of patients away"


def _finest(values: np.ndarray) -> float:
    step = 1.0
    while np.any(values / step != np.round(values / step)):
        step /= 2
    return step


@given(st.lists(st.integers(0, 40), min_size=2, max_size=6), st.integers(0, 30), st.integers(0, 20), st.integers(1, 15), st.randoms())
def test_the_mean_of_the_rest_is_of_none_or_of_k_whoever_lacks_the_number(
    counts: list[int], more: int, without: int, least: int, random: Random
) -> None:
    table = Folded.of(np.array([*counts, more, 0]), least)
    told_ = may_be_told(table, len(counts), without, least)
    if not table.total:
        return
    patients = [place for place, count in enumerate([*counts, more]) for _ in range(count)]
    lacking = random.sample(patients, min(without, len(patients)))
    have = np.bincount(patients, minlength=len(counts) + 1) - np.bincount(lacking, minlength=len(counts) + 1)
    assert all(have[place] >= least for place in np.flatnonzero(told_))
    rest = sum(have) - have[: len(counts)][told_].sum()
    assert not told_.any() or rest == 0 or rest >= least


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_ranks_stay_the_same_in_another_unit(values: list[float]) -> None:
    z = np.round(np.array(values), 3)
    assert np.allclose(ranks(z), ranks(z * 4 + 1))
    assert abs(ranks(z).mean()) < 1e-9 and np.all(np.abs(ranks(z)) <= 1)


def test_an_answer_passes_the_gate_and_holds_no_small_count() -> None:
    protocol = plan()
    ask = algorithm(protocol).ask(State("preflight", 0, {}))
    flags = {"groups", "spike/kind", "mapped", "numbers/few", "codes/few", "halves/few", "repeats/few", "ranks/told", "together/told"}
    for size in (0, 5, 12, 30, 90):
        if not size:
            continue
        sums = told(protocol, dataset(protocol, "north", rows(4, size)))
        unpack(ask.layout, packed(ask.layout, sums))
        for term in ask.layout:
            if term.kind == "count" and term.name not in flags and not term.name.startswith("card/"):
                counts = sums[term.name]
                assert not np.any((counts > 0) & (counts < K)), (size, term.name)


@settings(max_examples=20)
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 15), st.integers(0, 20), st.booleans())
def test_what_rows_can_be_told_apart_by_is_classes_of_k(seed: int, size: int, least: int, marked: int, timed: bool) -> None:
    protocol = plan(least=least, timed=timed)
    listed = [{**row, "age": "0" if place < marked else row["age"]} for place, row in enumerate(rows(seed, size))]
    listed = [{**row, "seen": f"20{10 + place % 10}-01-11" if place % 7 else ""} for place, row in enumerate(listed)] if timed else listed
    kept = algorithm(protocol).answer(algorithm(protocol).ask(State("preflight", 0, {})), dataset(protocol, "a", listed), {}, RNG)[1]
    labels = {name: one for name, one in (kept or {}).items() if name.startswith("left|")}
    assert len(labels) == (0 if least == 1 else 6)
    for one in labels.values():
        counts = np.unique(one[one >= 0], return_counts=True)[1]
        assert np.all(counts >= least) and len(one) == size


@pytest.mark.parametrize("value", ["0", "119"])
def test_a_value_that_is_told_is_a_class_of_its_own_for_later_tables(value: str) -> None:
    listed = [{**row, "age": value if place < 12 else row["age"]} for place, row in enumerate(rows(4, 90))]
    data = dataset(plan(), "a", listed)
    (labels,) = (one for name, one in told_apart(plan(), data).items() if name.endswith("|age"))
    assert np.array_equal(labels == labels[0], data.columns["age"] == float(value))
    bins = (data.columns["age"] >= 100).astype(np.int64) if value == "119" else (data.columns["age"] < 1).astype(np.int64)
    bins[20] = 1  # one patient more in the bin than have the value
    assert held_back(bins, 2, data.patient, K, (), [labels.astype(np.int64)], K).all()


def test_several_rows_a_patient_count_once() -> None:
    protocol = plan()
    once = told(protocol, dataset(protocol, "north", rows(4, 60)))
    data = dataset(protocol, "north", [*rows(4, 60), *rows(5, 60)])
    patient = np.concatenate([np.arange(60), np.arange(60)])
    twice = told(protocol, type(data)(data.columns, patient, np.zeros(60, dtype=np.int8), notes=data.notes))
    assert all(np.allclose(once[name], twice[name]) for name in once)


def test_without_names_a_hospital_finds_itself_and_no_other() -> None:
    protocol = plan()
    given_ = hospitals()
    sums = results(protocol, given_)
    hidden = algorithm(protocol).shared(sums)
    assert not any(site in str(hidden) for site in given_)
    assert hidden == unnamed(algorithm(protocol).told(sums))
    letters = []
    for seen in algorithm(protocol).sites(sums):
        alone = Compared(protocol, "ill", [seen]).told()
        letter = whose(hidden, alone)
        assert letter is not None
        letters.append(letter)
        open_ = algorithm(protocol).told(sums)
        for shown, full in zip(hidden["fields"], open_["fields"], strict=True):
            one, other = shown["sites"][letter], full["sites"][seen.name]
            assert one["findings"] == other["findings"] and one.get("means") == other.get("means")
            assert not any(type(share) is int for share in one["patients"].values()), "a count would tell the hospital's size"
    assert sorted(letters) == ["Hospital A", "Hospital B", "Hospital C", "Hospital D"]
    stranger = Compared(protocol, "ill", algorithm(protocol).sites(results(protocol, {"west": rows(77)}))).told()
    assert whose(hidden, stranger) is None


def test_without_names_no_label_card_is_quoted() -> None:
    cards = {
        site: {
            "label_card": {"source": "s", "coding": "OPS Musterstadt" if site == "site1" else "ICD-10-GM", "agreement": 0.31, "readers": 2}
        }
        for site in hospitals()
    }
    sums = results(plan(), hospitals(), **cards)
    assert "OPS Musterstadt" in str(algorithm(plan()).told(sums))
    hidden = str(algorithm(plan()).shared(sums))
    assert "names another coding system" in hidden and "agree little" in hidden
    assert "Musterstadt" not in hidden and "ICD" not in hidden and "0.31" not in hidden


def test_without_names_no_size_stands_beside_a_name() -> None:
    sites = {"north": {"patients": "50-99", "source": "table"}}
    assert unsized(plan(), sites) == {"north": {"patients": None, "source": None}}
    assert unsized(plan(site_results="open"), sites) == sites


def test_with_names_the_plan_must_say_so() -> None:
    protocol = plan(site_results="open")
    assert "site0" in str(algorithm(protocol).shared(results(protocol, hospitals())))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('combine = "append"', 'combine = "plain"', "combine"),
        ('site_results = "blinded"', 'site_results = "own"', "site_results"),
        ('codes = ["f", "m"], outside = "keep"', 'codes = ["f", "m"]', "outside"),
        ('label = "ill"', 'label = "dead"', "dead"),
        ("counts = true", "counts = false", "counts"),
    ],
)
def test_a_plan_that_compares_nothing_is_refused(old: str, new: str, words: str) -> None:
    from tests.learning.preflight.hospitals import FIELDS, HEAD
    from wardround.study.protocol.load import read_protocol

    listed = "\n".join(f"{name} = {one}" for name, one in FIELDS.items())
    text = HEAD.format(time="", fields=listed, label="ill", least=10, site_results="blinded")
    assert old in text
    with pytest.raises(ProtocolError, match=words):
        read_protocol(text.replace(old, new), "study.toml")


def test_another_statistic_cannot_have_hospitals_kept_apart() -> None:
    from tests.learning.statistics.studies import text
    from wardround.study.protocol.load import read_protocol

    with pytest.raises(ProtocolError, match="adds them up"):
        read_protocol(text(kinds=["histogram"]).replace('combine = "plain"', 'combine = "append"'), "study.toml")


def test_the_shape_is_the_same_at_hospital_and_reader() -> None:
    shape = Shape.of(plan(timed=True))
    assert shape.cells("ward") == slice(8, 13)
    assert shape.classes[-1] == ("@halves", 1) and len(shape.classes) == 9
