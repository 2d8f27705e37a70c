from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.pages.fixtures import DIGEST, PROTOCOL, bare, five_sites, forty_sites, one_site, write_folder
from wardround.pages.headline import headline
from wardround.pages.report import render, write_report
from wardround.study.errors import StoreError

RESULTS: list[Callable[[], dict[str, Any]]] = [five_sites, forty_sites, one_site, bare, dict]
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Read a page strictly: what is opened is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None], tuple[str, ...]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs), tuple(self.open)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs, _ in self.tags if name == tag]

    @property
    def text(self) -> str:
        return re.sub(r"[ \n\t\xa0]+", " ", " ".join(self.words)).replace("\N{MINUS SIGN}", "-")


@pytest.mark.parametrize("result", RESULTS)
def test_every_result_makes_a_whole_page(result: Callable[[], dict[str, Any]]) -> None:
    page = Page(render(result(), None, {}))
    ids = [attrs["id"] for _, attrs, _ in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("header")) == len(page.all("footer")) == 1
    assert {str(attrs["href"])[1:] for attrs in page.all("a")} <= set(ids)
    assert {str(attrs["aria-labelledby"]) for attrs in page.all("section")} <= set(ids)


@pytest.mark.parametrize("result", RESULTS)
def test_tables_have_captions_and_heads_a_scope_and_pictures_a_title(result: Callable[[], dict[str, Any]]) -> None:
    text = render(result(), None, {})
    page = Page(text)
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(attrs.get("scope") in {"row", "col"} for attrs in page.all("th"))
    for svg in re.findall(r'<svg class="(?:plot|curve|stack)[^>]*>.{0,30}', text):
        assert "<title" in svg or 'aria-hidden="true"' in svg


@pytest.mark.parametrize("result", RESULTS)
def test_nothing_is_fetched_and_nothing_runs(result: Callable[[], dict[str, Any]]) -> None:
    text = render(result(), None, {})
    assert not re.search(r"<script|https?:|//[a-z]|@import|url\(|\bon[a-z]+=", text)
    assert {attrs["href"] for attrs in Page(text).all("link")} == {"data:,"}


@pytest.mark.parametrize("result", RESULTS)
def test_nothing_is_promised_that_nobody_can_keep(result: Callable[[], dict[str, Any]]) -> None:
    words = Page(render(result(), None, PROTOCOL)).text.lower()
    assert not re.search(r"anonym|complian|zero risk|guarantee|\bnone\b.{0,3}\bnone\b|undefined|\bnan\b", words)
    assert "not a medical device" in words and "no differential privacy" in words


def test_the_answer_comes_first() -> None:
    page = Page(render(five_sites(), None, {}))
    before, _, after = page.text.partition("Two of five sites gain")
    assert "0." not in before and "0.930" in after
    assert headline(five_sites()).split("; ")[0].replace("\xa0", " ") in page.text


def test_the_whole_folder_makes_the_same_bytes_twice(tmp_path: Path) -> None:
    first = write_report(write_folder(tmp_path, five_sites()))
    assert first == tmp_path / "report.html"
    bytes_ = first.read_bytes()
    assert write_report(tmp_path).read_bytes() == bytes_
    assert not (tmp_path / "report.html.new").exists()


def test_the_release_that_names_the_page_does_not_change_the_page(tmp_path: Path) -> None:
    before = write_report(write_folder(tmp_path, five_sites())).read_bytes()
    with (tmp_path / "record/study/entries.jsonl").open("a") as log:
        log.write(json.dumps({"v": 1, "t": "release", "phase": "train", "model": DIGEST, "result": DIGEST, "report": DIGEST}) + "\n")
    assert write_report(tmp_path).read_bytes() == before


def test_the_page_says_what_left_and_how_to_check(tmp_path: Path) -> None:
    page = Page(write_report(write_folder(tmp_path, five_sites())).read_text())
    assert "5 sites sent 385 messages, 4.0 MB in all, in 77 rounds of 5 phases." in page.text
    assert "the coordinator did not admit the answer. A value in update/layer.weight is not finite." in re.sub(" +", " ", page.text)
    assert "wardround verify ." in page.text and DIGEST.removeprefix("sha256:") in page.text and "EK 2026/117" in page.text


def test_synthetic_data_is_called_so_beside_every_figure(tmp_path: Path) -> None:
    text = write_report(write_folder(tmp_path, forty_sites())).read_text()
    for row in re.findall(r"<tr[^>]*><th[^>]*scope=\"row\">.*?</th>", text, re.S):
        assert "synthetic" in row or re.search(r">(moments|train\.\d|evaluate|hospital-12)</th>", row)
    for caption in re.findall(r"<caption>.*?</caption>", text, re.S):
        assert "synthetic" in caption or "did not happen" in caption
    assert "synthetic" not in render(five_sites(), None, {})


def test_hostile_names_and_notes_stay_text() -> None:
    result = five_sites()
    bad = "<img src=x onerror=alert(1)>\"'"
    result["title"] = result["purpose"] = bad
    result["sites"][bad] = {"patients": 50, "test": 40}
    result["verdicts"][bad], result["verdict_notes"][bad] = "gains", bad
    result["paired"]["local"]["sites"][bad] = {"auroc": {"value": 0.1, "low": 0.0, "high": 0.2}}
    result["refusals"] = [{"site": bad, "phase": bad, "round": 0, "where": bad, "reason": bad, "remedy": bad}]
    result["metrics"][bad] = result["metrics"]["local"]
    assert not Page(render(result, None, {"parties": {bad: bad}})).all("img")


def test_small_counts_do_not_reach_the_page() -> None:
    result = five_sites()
    result["sites"]["Aachen"] = {
        "patients": 7,
        "examples": 7,
        "train": 4,
        "validation": 1,
        "test": 2,
        "positive_share": 3 / 7,
        "snapshot_bytes": 777,
    }
    result["metrics"]["federated"]["sites"]["Aachen"] = {"auroc": {"value": 0.7373, "low": 0.5, "high": 1.0}}
    text = Page(render(result, None, {})).text
    rows = text[text.index("Whose data was it?") : text.index("What left each site?")]
    assert "Aachen <10 <10 <10 <10 <10 withheld withheld" in re.sub(r"\s+", " ", rows)
    assert "0.737" not in text and "777" not in text and "43 %" not in text


def test_privacy_is_said_as_it_was() -> None:
    result = five_sites()
    result["privacy"] = {"unit": "patient", "epsilon": 3.0, "delta": 1e-5, "secure_sum": True}
    text = Page(render(result, None, {})).text
    assert "Differential privacy: epsilon 3, delta 1e-05, for each patient" in text and "No differential privacy" not in text
    assert "Secure sum" in text and "Plain sum" not in text


def test_own_code_and_images_are_marked() -> None:
    result = five_sites()
    result["unregistered"], result["unit"] = ["aggregator"], "image"
    text = Page(render(result, None, {})).text
    assert "Unregistered code: aggregator" in text and "image-level" in text and "test images" in text


@pytest.mark.parametrize("content", [None, "{", "[]"])
def test_an_unreadable_result_is_an_error_with_a_remedy(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "result.json").write_text(content)
    with pytest.raises(StoreError, match=r"result\.json") as caught:
        write_report(tmp_path)
    assert caught.value.remedy


def test_a_disk_that_refuses_leaves_the_older_page(tmp_path: Path) -> None:
    page = write_report(write_folder(tmp_path, five_sites()))
    before = page.read_bytes()
    (tmp_path / "report.html.new").mkdir()
    with pytest.raises(StoreError, match="cannot be written"):
        write_report(tmp_path)
    assert page.read_bytes() == before


def test_metrics_stand_in_one_order_with_the_primary_one_first() -> None:
    result = five_sites()
    result["primary"] = "brier"
    table = result["metrics"]["federated"]["all"]
    result["metrics"]["federated"]["all"] = {name: table[name] for name in sorted(table)}
    text = render(result, None, PROTOCOL)
    names = re.findall(r'<th scope="row">([A-Za-z ]+?)(?: <span|</th>)', text[text.index('class="metrics"') : text.index('class="pairs"')])
    assert names == ["Brier score", "AUROC", "AUPRC", "Accuracy", "Sensitivity", "Calibration error"]
    assert "a specificity of 0.90 on validation patients" in text
