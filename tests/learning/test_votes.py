from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import protocol
from wardround.learning.norm import mean_and_deviation, no_norm
from wardround.learning.questions.binary import Binary
from wardround.learning.votes import by_site, middle, voted_moments, voted_score
from wardround.study.arrays import put_under, under
from wardround.study.protocol import Protocol
from wardround.study.streams import Stream
from wardround.study.task import Done, State, Total

numbers = st.lists(st.floats(-1e6, 1e6), min_size=3, max_size=15)


@given(honest=numbers, lies=st.lists(st.sampled_from([-1e300, 0.0, 1e300]), max_size=7))
def test_fewer_than_half_cannot_leave_what_the_others_say(honest: list[float], lies: list[float]) -> None:
    hostile = min(len(lies), (len(honest) - 1))
    said = np.array([*honest, *lies[:hostile]])[:, None]
    (found,) = middle(said, hostile)
    if len(said) > 2 * hostile:
        slack = 1e-9 * max(abs(min(honest)), abs(max(honest)))
        assert min(honest) - slack <= found <= max(honest) + slack
    else:
        assert np.isnan(found)


@given(values=numbers)
def test_with_nobody_hostile_it_is_the_mean(values: list[float]) -> None:
    assert np.isclose(middle(np.array(values)[:, None], 0)[0], np.mean(values))


def test_whoever_cannot_say_has_no_vote_and_too_few_votes_say_nothing() -> None:
    said = np.array([[1.0], [np.nan], [2.0], [np.inf], [7.0]])
    assert middle(said, 1)[0] == 2 and middle(said, 0)[0] == 10 / 3
    assert np.isnan(middle(said, 2)[0])


def plan(hostile: int) -> Protocol:
    return protocol(rounds={"quorum": 5, "combine": "median", "hostile": hostile})


def histogram(negatives: tuple[int, int], positives: tuple[int, int]) -> dict[str, np.ndarray]:
    found = np.zeros((2, 256))
    found[0, 0], found[0, 255] = negatives
    found[1, 0], found[1, 255] = positives
    return {"validation/histogram": found}


def test_one_site_cannot_choose_the_model_by_claiming_a_million_patients() -> None:
    honest = {f"h{n}": histogram((9, 1), (1, 9)) for n in range(4)}
    liar = histogram((0, 1_000_000), (1_000_000, 0))
    nobody = histogram((0, 0), (0, 0))
    told = {**honest, "liar": liar, "small": nobody}
    sums = {name: value for site, one in told.items() for name, value in put_under(f"apart/{site}", one).items()}
    assert len(by_site(sums)) == 6
    assert voted_score(plan(1), sums) == pytest.approx(Binary().finalise(under(honest["h0"], "validation"), "auroc"))
    fewer = {name: value for name, value in sums.items() if not name.startswith("apart/h0/")}
    assert np.isnan(voted_score(plan(2), fewer))


def test_moments_lie_among_the_honest_ones_whatever_one_of_them_says() -> None:
    rng = np.random.default_rng(0)
    z = [rng.normal([0.1, -0.3], [0.2, 0.4], (50, 2)) for _ in range(5)]
    own = [{"present": np.array([50.0, 50.0]), "sum": one.sum(0), "squares": (one * one).sum(0)} for one in z]
    own.append({"present": np.array([500.0, 500.0]), "sum": np.array([500.0, 500.0]), "squares": np.array([500.0, 500.0])})
    own.append({"present": np.array([0.0, 10.0]), "sum": np.array([0.0, -3.0]), "squares": np.array([0.0, 2.0])})
    sums = {name: value for number, one in enumerate(own) for name, value in put_under(f"apart/s{number}", one).items()}
    found = voted_moments(sums, 1)
    each = [mean_and_deviation(one) for one in own[:5]]
    for key in ("mean", "deviation"):
        assert np.all(np.min([one[key] for one in each], axis=0) <= found[key])
        assert np.all(found[key] <= np.max([one[key] for one in each], axis=0))
    nothing = voted_moments({name: np.zeros_like(value) for name, value in sums.items()}, 1)
    assert np.array_equal(nothing["mean"], [0, 0]) and np.array_equal(nothing["deviation"], [1, 1])


def test_a_column_with_too_few_votes_stays_as_the_contract_scales_it() -> None:
    """Three of seven may lie and one measures nothing: of the six others the liars could be half, so what they say is not followed."""
    agreed = protocol(rounds={"quorum": 7, "combine": "median", "hostile": 3}, bounds={"sites": 7, "examples": 500})
    moments = agreed.by_phase["moments"]
    state = moments.begin(agreed, {}, Stream.public(0))
    assert isinstance(state, State)
    width = len(no_norm(agreed)["mean"])
    said = {f"s{n}": {"present": np.full(width, 10.0), "sum": np.full(width, 5.0), "squares": np.full(width, 4.0)} for n in range(7)}
    said["s0"] = {name: np.where(np.arange(width) == 0, 0.0, value) for name, value in said["s0"].items()}
    apart = {name: value for site, one in said.items() for name, value in put_under(f"apart/{site}", one).items()}
    done = moments.advance(state, Total(moments.ask(state).layout, {}, apart, 7))
    assert isinstance(done, Done)
    for key, value in no_norm(agreed).items():
        assert done.results[key][0] == value[0] and done.results[key][1] == {"mean": 0.5, "deviation": np.sqrt(0.15)}[key]
