from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.pages.figures import Figure
from wardround.pages.scale import Scale, differences, levels, padded

VALUES = st.floats(-1, 1)


@given(VALUES, VALUES, st.floats(0, 0.1), st.sampled_from([-1, 1]))
def test_clear_intervals_zero_and_margin_are_always_on_the_axis(a: float, b: float, margin: float, better: int) -> None:
    low, high = sorted((a, b))
    scale = differences([Figure((low + high) / 2, low, high)], [Figure(0.0, -9.0, 9.0)], margin, better)
    for value in (low, high, 0.0, -better * margin):
        assert 0 <= scale.at(value) <= 100


def test_an_unclear_site_widens_the_axis_by_a_third_at_most() -> None:
    clear = [Figure(0.02, -0.05, 0.09)]
    narrow, wide = differences(clear, [], 0.02, 1), differences(clear, [Figure(0.0, -5.0, 5.0)], 0.02, 1)
    assert wide.right - wide.left == pytest.approx((narrow.right - narrow.left) * 5 / 3)


def test_better_is_to_the_right_also_where_less_is_better() -> None:
    scale = differences([Figure(-0.05, -0.09, -0.01)], [], 0.02, -1)
    assert scale.at(-0.05) > scale.at(0.0) > scale.at(0.02)


@given(VALUES, st.floats(1e-4, 2))
def test_ticks_are_few_round_and_on_the_axis(low: float, width: float) -> None:
    scale = Scale(low, low + width)
    ticks = scale.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(-0.01 <= scale.at(tick) <= 100.01 for tick in ticks)
    assert all(abs(round(tick, scale.places()) - tick) < 1e-9 for tick in ticks)


def test_clipping_says_on_which_side() -> None:
    scale = Scale(0, 1)
    assert [scale.clipped(value) for value in (-1, 0.25, 3)] == [(0.0, -1), (25.0, 0), (100.0, 1)]


def test_equal_or_missing_values_still_make_an_axis() -> None:
    assert levels([Figure(0.5), Figure()], 1).at(0.5) == pytest.approx(50)
    low, high = padded([], least=0.02)
    assert low < 0 < high
