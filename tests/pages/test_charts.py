from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from wardround.pages import charts
from wardround.pages.figures import Figure
from wardround.pages.scale import Scale

ACROSS = Scale(-0.1, 0.1)


def tree(svg: str) -> ElementTree.Element:
    return ElementTree.fromstring(svg)


def places(svg: str, kind: str) -> list[float]:
    return [float(found) for found in re.findall(rf'<svg x="([0-9.]+)%"[^>]*class="mark"><[a-z]+ class="{kind}"', svg)]


def test_a_row_draws_band_zero_interval_and_mark_where_they_belong() -> None:
    svg = charts.interval_row(ACROSS, Figure(0.05, 0.02, 0.08), "gains", "Aachen gains", margin=-0.02)
    row = tree(svg)
    band, zero, whisker = (next(one for one in row.iter() if one.get("class") == name) for name in ("band", "zero", "whisker"))
    assert (band.get("x"), band.get("width")) == ("40.00%", "10.00%")
    assert zero.get("x1") == "50.00%"
    assert (whisker.get("x1"), whisker.get("x2")) == ("60.00%", "90.00%")
    assert '<svg x="75.00%" y="50%" class="mark">' in svg
    assert row.get("role") == "img" and row[0].text == "Aachen gains"


def test_where_less_is_better_the_band_is_still_left_of_zero() -> None:
    band = next(
        one for one in tree(charts.interval_row(Scale(0.1, -0.1), Figure(0.0), "all", "", margin=0.02)).iter() if one.get("class") == "band"
    )
    assert (band.get("x"), band.get("width")) == ("40.00%", "10.00%")


@pytest.mark.parametrize("across", [Scale(-0.1, 0.1), Scale(0.1, -0.1), Scale(0.0, 0.7)])
def test_tick_labels_stand_at_their_lines_also_at_the_edges(across: Scale) -> None:
    labels = [one for one in tree(charts.axis(across)).iter() if one.tag == "text"]
    lines = [one.get("x1") for one in tree(charts.interval_row(across, Figure(), "all", "")).iter() if one.get("class") == "grid"]
    assert [one.get("x") for one in labels] == lines
    assert {one.get("text-anchor") for one in labels} == {"middle"}


def test_a_long_interval_is_cut_with_an_arrow_at_its_end() -> None:
    svg = charts.interval_row(ACROSS, Figure(0.0, -0.05, 0.9), "cannot_say", "", margin=-0.02)
    assert places(svg, "arrow") == [100.0] and places(svg, "whisker") == [25.0]


def test_a_value_off_the_axis_has_arrows_only() -> None:
    svg = charts.interval_row(ACROSS, Figure(0.5, 0.4, 0.6), "cannot_say", "", margin=-0.02)
    assert places(svg, "arrow") == [100.0, 100.0] and charts.SHAPES["cannot_say"] not in svg


@pytest.mark.parametrize(
    ("shown", "marks", "whiskers"),
    [(Figure(), 0, 0), (Figure(0.01), 1, 0), (Figure(0.01, None, 0.02), 1, 0), (Figure(0.01, 0, 0.02), 1, 3)],
)
def test_missing_parts_are_left_out(shown: Figure, marks: int, whiskers: int) -> None:
    svg = charts.interval_row(ACROSS, shown, "no_worse", "", margin=-0.02)
    assert (svg.count(charts.SHAPES["no_worse"]), svg.count('"whisker"')) == (marks, whiskers)


def test_every_verdict_has_a_shape_of_its_own() -> None:
    assert len(set(charts.SHAPES.values())) == len(charts.SHAPES)


def test_words_in_a_picture_are_escaped() -> None:
    assert "<b>" not in charts.interval_row(ACROSS, Figure(0.0), "all", "<b>&") and "<b>" not in charts.stacked([("gains", 1)], "<b>")


def test_bars_share_one_scale() -> None:
    bars = [one.get("width") for one in tree(charts.two_bars(50, 200, 200, "")).iter() if one.tag.endswith("rect")]
    assert bars == ["25.00%", "100.00%"]
    assert charts.two_bars(0, None, 0, "").count("rect") == 1


def test_a_bar_alone_stands_in_the_middle() -> None:
    (alone,) = [one for one in tree(charts.two_bars(50, None, 50, "")).iter() if one.tag.endswith("rect")]
    assert alone.get("transform") == "translate(0 -3)" and alone.get("height") == "6"


def test_the_stack_fills_the_width() -> None:
    widths = [
        float(str(one.get("width"))[:-1])
        for one in tree(charts.stacked([("gains", 1), ("loses", 0), ("no_worse", 3)], "")).iter()
        if one.tag == "rect"
    ]
    assert widths == [25.0, 75.0]
