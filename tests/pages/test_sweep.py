"""A sweep as people read it: the same cells on the terminal, in Markdown and in a notebook; nothing that is missing is passed over."""

from __future__ import annotations

import re
from typing import Any

import pytest

from wardround.pages import words
from wardround.pages.sweep import as_html, as_markdown, as_text, figure

ONE = {"value": 0.8, "seeds": [0.7, 0.9], "patients": [0.75, 0.85], "low": 0.69, "high": 0.91, "n": 3}
LOSS = {"value": -0.05, "seeds": None, "patients": None, "low": -0.11, "high": 0.01, "n": 1}


def found(**changes: Any) -> dict[str, Any]:
    places = {"all patients": {"auroc": ONE, "accuracy": ONE}, "mean of sites": {"auroc": ONE, "accuracy": ONE}, "a": {"auroc": ONE}}
    row = {
        "figures": places,
        "paired": True,
        "seeds": [0, 1, 2],
        "against": {"local": {"all patients": {"auroc": LOSS}, "a": {"auroc": LOSS}}},
        "verdicts": {"a": {"word": "cannot_say", "note": "the evidence does not settle it"}},
        "bytes_up": [2_000_000, 4_000_000],
    }
    base = {"study": "heart", "primary": "auroc", "direction": 1, "margin": 0.02, "metrics": ["auroc", "accuracy"], "synthetic": False}
    rows = {"Fed|Avg <1>": row}
    return {**base, "seeds": [0, 1, 2], "baselines": "Fed|Avg <1>", "rows": rows, "comparators": {"local": places}, "failed": [], **changes}


def test_all_pages_show_the_same_figures() -> None:
    for page in (as_text(found(), 200), as_markdown(found()), as_html(found())):
        assert "0.800 (0.690 to 0.910)" in page
        assert re.search(r"-0\.050 \(-0\.110 to \+0\.010\)\s*cannot say", page.replace(words.MINUS, "-"))
        assert "0 / 0 / 0 / 1" in page and "3.0\u00a0MB" in page and "Accuracy" in page


def test_names_cannot_break_a_table() -> None:
    assert r"Fed\|Avg <1>" in as_markdown(found())
    assert "Fed|Avg &lt;1&gt;" in as_html(found()) and "<1>" not in as_html(found())
    assert "Fed|Avg <1>" in as_text(found(), 200)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"failed": [{"method": "x", "seed": 4, "error": "It broke.", "remedy": "Mend it."}]}, "Failed: x, seed 4: It broke. Mend it."),
        ({"seeds": [0, 1, 2, 3]}, "3 of 4 seeds only."),
        ({"direction": -1}, "smaller is better"),
        ({"synthetic": True}, "synthetic data"),
        ({"rows": {"y": {**found()["rows"]["Fed|Avg <1>"], "paired": False, "against": {}, "verdicts": {}}}}, "nothing pairs"),
    ],
)
def test_what_must_be_known_stands_with_it(changes: dict[str, Any], said: str) -> None:
    for page in (as_text(found(**changes), 200), as_markdown(found(**changes)), as_html(found(**changes))):
        assert said in page
        assert said not in as_text(found(), 200)


def test_what_does_not_exist_is_a_dash() -> None:
    assert figure({}) == figure({"value": None, "low": None, "high": None}) == words.NONE
    assert figure({"value": 0.5, "low": None, "high": None}, signed=True) == "+0.500"
