"""Nothing that leaves a hospital in a preflight is about fewer than k patients, whatever its rows hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.learning.preflight.hospitals import algorithm, dataset, hospitals, plan, results, rows, told
from wardround.combining.fixedpoint import packed, unpack
from wardround.learning.preflight.layout import Shape
from wardround.learning.preflight.site import FEW_APART, NEARLY_ALL, SET_APART, may_be_told, number_told, ranks
from wardround.learning.preflight.unnamed import unnamed, whose
from wardround.learning.preflight.verdicts import Compared
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
def test_means_are_over_k_patients_and_leave_out_the_ends(values: list[int], least: int) -> None:
    z = np.sort(np.array(values, dtype=np.float64))
    found = number_told(z, least)
    if found.kind == SET_APART:
        assert found.count == np.sum(z == found.value) >= least
        assert len(z) - found.count == 0 or len(z) - found.count >= least
    elif found.kind == NEARLY_ALL:
        assert found.count == 0 and np.sum(z == found.value) >= least
    else:
        assert found.count == 0 and found.value == 0
    rest = z[z != found.value] if found.kind == SET_APART else z
    if found.groups and found.kind not in (NEARLY_ALL, FEW_APART):
        assert len(rest) >= least * found.groups
        lowest = rest[int(len(rest) * 0.05) :][:least]
        assert found.quarters[0] >= lowest.mean() - 1e-9


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 30), st.integers(1, 15))
def test_the_mean_of_the_rest_is_of_none_or_of_k(counts: list[int], more: int, least: int) -> None:
    told_ = may_be_told(np.array(counts, dtype=np.float64), float(sum(counts) + more), least)
    rest = sum(counts) + more - sum(count for count, one in zip(counts, told_, strict=True) if one)
    assert all(count >= least for count, one in zip(counts, told_, strict=True) if one)
    assert rest == 0 or rest >= least or not told_.any()


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_ranks_stay_the_same_in_another_unit(values: list[float]) -> None:
    z = np.round(np.array(values), 3)
    assert np.allclose(ranks(z), ranks(z * 4 + 1))
    assert abs(ranks(z).mean()) < 1e-9 and np.all(np.abs(ranks(z)) <= 1)


def test_an_answer_passes_the_gate_and_holds_no_small_count() -> None:
    protocol = plan()
    ask = algorithm(protocol).ask(State("preflight", 0, {}))
    flags = {"groups", "spike/kind", "mapped", "numbers/few", "codes/few", "repeats/few", "ranks/told", "together/told"}
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
@given(st.integers(0, 1000), st.integers(1, 60), st.integers(1, 15))
def test_what_rows_can_be_told_apart_by_is_classes_of_k(seed: int, size: int, least: int) -> None:
    protocol = plan(least=least)
    kept = algorithm(protocol).answer(
        algorithm(protocol).ask(State("preflight", 0, {})), dataset(protocol, "a", rows(seed, size)), {}, RNG
    )[1]
    labels = {name: one for name, one in (kept or {}).items() if name.startswith("left|")}
    assert len(labels) == (0 if least == 1 else 6)
    for one in labels.values():
        counts = np.unique(one[one >= 0], return_counts=True)[1]
        assert np.all(counts >= least) and len(one) == size


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
        assert [one["sites"][letter] for one in hidden["fields"]] == [one["sites"][seen.name] for one in open_["fields"]]
    assert sorted(letters) == ["Hospital A", "Hospital B", "Hospital C", "Hospital D"]
    stranger = Compared(protocol, "ill", algorithm(protocol).sites(results(protocol, {"west": rows(77)}))).told()
    assert whose(hidden, stranger) is None


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
