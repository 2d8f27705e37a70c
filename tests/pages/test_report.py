from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.pages.fixtures import (
    DIGEST,
    PROTOCOL,
    bare,
    counted_only,
    five_sites,
    forty_sites,
    no_better_than_guessing,
    one_site,
    several_rows,
    three_models,
    totals_only,
    trained_only,
    write_folder,
)
from wardround.pages.headline import headline
from wardround.pages.report import render, write_report
from wardround.study.errors import StoreError

RESULTS: list[Callable[[], dict[str, Any]]] = [
    five_sites,
    forty_sites,
    one_site,
    no_better_than_guessing,
    several_rows,
    three_models,
    totals_only,
    trained_only,
    counted_only,
    bare,
    dict,
]
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
        joined = " ".join(self.words).replace("\N{MINUS SIGN}", "-").replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
        return re.sub(r"[ \n\t\xa0]+", " ", joined)


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


def test_warnings_stand_right_under_the_answer_in_words_and_shape() -> None:
    result = no_better_than_guessing()
    text = render(result, None, {})
    under = text[text.index('class="headline"') : text.index('class="facts"')]
    (warning,) = re.findall(r'<p class="warning" role="note">(.*?)</p>', under, re.S)
    assert "<svg" in warning and "<b>Warning.</b>" in warning and result["warnings"][0] in warning
    assert under.index(result["warnings"][0]) < under.index('class="purpose"')
    assert 'class="warning"' not in render(five_sites(), None, {})


def test_the_top_row_says_what_does_not_protect_the_patients() -> None:
    text = render(five_sites(), None, {})
    top = text[text.index("<header>") : text.index("</header>")]
    for badge in ("No differential privacy", "Plain sums"):
        assert f'<a href="#privacy">{badge}</a>' in top
    result = five_sites()
    result["privacy"] = {"unit": "patient", "epsilon": 3.0, "delta": 1e-5, "secure_sum": True}
    text = render(result, None, {})
    assert "Differential privacy, epsilon 3" in text and "Secure sums" in text and "Plain sums" not in text


def test_the_note_and_not_the_legend_says_why_a_site_cannot_say() -> None:
    text = Page(render(forty_sites(), None, {})).text
    assert "not enough evidence" in text and "too few patients to say" not in text
    assert "The evidence does not settle it." in text and "Too few test patients to say: fewer than 30" in text


def test_rows_are_told_from_patients() -> None:
    text = Page(render(several_rows(), None, {})).text
    assert "over all rows of the 90 test patients" in text and "over all test patients" not in text
    assert re.search(r"Patients\s+360\s+1\N{NARROW NO-BREAK SPACE}080 rows", text) and "keep a patient's rows together" in text
    assert "Examples (rows)" in text


def test_examples_are_counted_once_where_nobody_knows_the_patients() -> None:
    text = Page(render(no_better_than_guessing(), None, {})).text
    assert "Examples (rows)" not in text and "All examples" in text and "10\N{EN DASH}49" in text


def test_the_tile_says_how_many_rounds_and_which_was_kept() -> None:
    result = five_sites()
    for row in result["history"]:
        row["kept"] = (row["phase"], row["round"]) == ("train.1", 17)
    best = Page(render(result, None, {})).text
    assert re.search(r"Training rounds\s+24\s+round 17 kept, no further improvement", best)
    assert re.search(r"24\s+as validation chose, then trained anew", Page(render(result, None, {"evaluation": {"refit": True}})).text)
    assert re.search(r"Training rounds\s+0\s+no training", Page(render(counted_only(), None, {})).text)


def test_metrics_are_explained() -> None:
    text = Page(render(five_sites(), None, {})).text
    assert re.search(r"Brier score\s+↓[\s0-9.to]+Mean squared error of the probability; 0 is perfect\.", text)
    assert "The models' figures are AUROC (chance that a positive case scores above a negative one;" in text
    result = {**five_sites(), "question": "multiclass"}
    assert "Each class is set against the rest" in Page(render(result, None, {})).text and "Each class" not in text


def test_the_test_behind_the_verdicts_is_said_once() -> None:
    text = Page(render(five_sites(), None, {})).text
    assert text.count("one-sided tests at 2.5 % on its bootstrap standard deviation, with Holm's correction over the sites") == 1
    assert "The interval shown must exclude the line as well" in text
    assert "one-sided tests" not in Page(render(trained_only(), None, {})).text


def test_plain_sums_are_said_to_show_single_patients_at_small_sites(tmp_path: Path) -> None:
    result = five_sites()
    honest = "one bin can hold a single patient's score and label"
    assert honest in Page(write_report(write_folder(tmp_path, result)).read_text()).text
    result["privacy"]["secure_sum"] = True
    (tmp_path / "result.json").write_text(json.dumps(result))
    assert honest not in Page(write_report(tmp_path).read_text()).text


def test_a_study_without_a_test_has_no_table_of_dashes() -> None:
    for result in (trained_only(), counted_only()):
        text = Page(render(result, None, {})).text
        assert "site by site" not in text and "The result holds no metrics over all sites." in text


def test_what_the_verifier_says_today_is_said_beforehand() -> None:
    text = Page(render(five_sites(), None, {})).text
    assert "ends with the verdict INCOMPLETE and exit code 2" in text and "no witness has cosigned" in text


def test_shown_differences_are_those_of_the_shown_values() -> None:
    result = five_sites()
    local = result["metrics"]["local"]["sites"]["Basel"]["auroc"]
    result["metrics"]["federated"]["sites"]["Basel"]["auroc"] = {"value": 0.9154, "low": 0.9, "high": 0.93}
    local.update(value=0.9056)
    result["paired"]["local"]["sites"]["Basel"]["auroc"] = {"value": 0.9154 - 0.9056, "low": -0.002, "high": 0.017}
    text = render(result, None, {})
    assert text.count("+0.009 (\N{MINUS SIGN}0.002 to +0.017)") == 3 and "+0.010 (" not in text  # in both tables and in the picture's title


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
    assert "5 sites sent 385 messages, 4.0 MB in all, over 77 rounds in 6 phases." in page.text
    assert "the coordinator did not admit the answer. A value in update/layer.weight is not finite." in re.sub(" +", " ", page.text)
    assert "wardround verify ." in page.text and DIGEST.removeprefix("sha256:") in page.text and "EK 2026/117" in page.text


def test_synthetic_data_is_called_so_beside_every_figure(tmp_path: Path) -> None:
    text = write_report(write_folder(tmp_path, forty_sites())).read_text()
    for row in re.findall(r"<tr[^>]*><th[^>]*scope=\"row\">.*?</th>", text, re.S):
        assert "synthetic" in row or re.search(r">(moments|train(\.\d)?|evaluate|hospital-12)</th>", row)
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
    assert "Unregistered code: aggregator" in text and "image-level" in text and "test examples" in text


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


def test_three_models_stand_side_by_side_and_the_personalised_one_is_held_against_local() -> None:
    page = Page(render(three_models(), None, PROTOCOL))
    text = " ".join(" ".join(page.words).split())
    assert "AUROC of the personalised federated model minus that of each site\N{RIGHT SINGLE QUOTATION MARK}s own model" in text
    assert "Personalised against local, site by site" in text and "personalised better ▸" in text
    heads = text[text.index("Personalised against local, site by site") :]
    assert heads.index("Federated") < heads.index("Personalised", 30) < heads.index("Local") < heads.index("Difference")
    assert "+0.044" in text, "Aachen: personalised minus local"
    plain = " ".join(Page(render(five_sites(), None, PROTOCOL)).words)
    assert "Personalised" not in plain and "ersonalised" not in plain
