"""The report of a study among hospitals: it says that each hospital's own figures stay there, and shows no dashes in their place."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.pages.fixtures import PROTOCOL, five_sites, totals_only, write_folder
from tests.support import PHASES, protocol, small
from wardround.outcome import federated_outcome
from wardround.pages.report import render, write_report

STAY = "ach hospital's own figures stay at that hospital"


def shown(result: dict[str, Any], protocol: dict[str, Any] | None = None) -> str:
    """Return the page of a result without a record."""
    return typed(render(result, None, protocol or {}))


def typed(page: str) -> str:
    """Return a page as one would type it."""
    return page.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").replace("\N{EN DASH}", "-")


def text_of(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>|<svg.*?</svg>", "", page, flags=re.S)))


def rows_of_dashes(page: str) -> list[str]:
    """Return the rows of tables whose cells all are dashes or empty."""
    rows = re.findall(r"<tr.*?</tr>", page, re.S)
    return [row for row in rows if (cells := re.findall(r"<td.*?</td>", row, re.S)) and not re.sub(r"<[^>]*>|[-\s]", "", "".join(cells))]


def written(folder: Path, result: dict[str, Any], without: str = "") -> str:
    """Return the page of a new results folder whose record may lack the log of a site."""
    folder.mkdir(exist_ok=True)
    write_folder(folder, result)
    if without:
        shutil.rmtree(folder / "record" / "sites" / without)
    return typed(write_report(folder).read_text())


@pytest.mark.parametrize("phases", [PHASES, [one for one in PHASES if one["kind"] != "local"]], ids=["with-local", "without-local"])
def test_what_a_coordinator_publishes_makes_a_page_without_rows_of_dashes(tmp_path: Path, phases: list[dict[str, Any]]) -> None:
    study = small(tmp_path, protocol(phases=phases))
    brought = {site: {"patients": "50-99", "source": "table"} for site in study.names}
    result = federated_outcome(study.protocol, brought, study.run(), study.store.history(), [], {})
    page = shown(json.loads(json.dumps(result)))
    assert result["metrics"]["federated"]["all"]["auroc"]["value"] is not None
    assert page.count(STAY) == 3 and rows_of_dashes(page) == []
    assert ("Federated minus this" in page) is (len(phases) == len(PHASES))


def test_verdicts_are_not_missed_but_said_to_stay(tmp_path: Path) -> None:
    page = written(tmp_path, totals_only(), without="Basel")
    top, sites = (
        page[page.index('class="headline"') : page.index('class="facts"')],
        page[page.index('id="sites"') : page.index('id="models"')],
    )
    assert STAY in top and f"E{STAY}" in page[page.index('id="models"') :]
    assert STAY in sites and "and with them the verdict" in sites and "<table" not in sites
    assert "site by site" not in page and "Verdict</th>" not in page and "o verdict" not in page and "cannot say" not in page
    assert rows_of_dashes(page) == []


def test_the_page_does_not_hide_that_plain_sums_reached_the_coordinator() -> None:
    reached = "The sums behind them did reach the coordinator"
    result = totals_only()
    assert reached in shown(result) and reached not in shown({**result, "metrics": {}})
    result["privacy"]["secure_sum"] = True
    assert reached not in shown(result)


def test_a_site_that_kept_its_log_is_named_and_not_counted(tmp_path: Path) -> None:
    text = text_of(written(tmp_path, totals_only(), without="Basel"))
    assert "Not counted is what left Basel: no copy of its log lies in the record, so wardround verify says INCOMPLETE where" in text
    assert "4 sites sent" in text and "These sites" in text and "All sites" not in text and "By phase, these sites together" in text
    assert "Not counted" not in text_of(written(tmp_path / "all", totals_only()))


def test_patients_are_told_in_bands_and_a_site_that_told_nothing_is_named() -> None:
    text = text_of(shown(totals_only(), PROTOCOL))
    assert "Patients 300-597 and &lt;10 at 1 site, not told by 1 site" in text and "A site tells a band, not the count." in text
    rows = text[text.index("Whose data was it?") : text.index("What left each site?")]
    assert "Aachen 100-199 Basel not told" in rows and rows.rstrip().endswith("Eindhoven &lt;10")


def test_what_stayed_has_no_column_where_nobody_knows_it(tmp_path: Path) -> None:
    assert "stayed there" not in written(tmp_path / "own", totals_only())
    assert "stayed there" in written(tmp_path / "open", five_sites())


def copy_of(site: str, test: int | str = 41) -> dict[str, Any]:
    """Return a hospital's own copy: its own figures beside the totals, and of the others none."""
    whole, result = five_sites(), totals_only()
    for part in ("metrics", "paired"):
        for model, table in result[part].items():
            table["sites"] = {site: whole[part][model]["sites"][site]}
    result["sites"][site] = {"patients": 164, "source": "table", "test": test}
    verdicts = {name: {site: whole[name][site]} for name in ("verdicts", "verdict_notes")}
    return {**result, **verdicts, "reader": site, "released": "sha256:" + "0" * 64}


def test_a_hospitals_own_copy_answers_for_that_hospital_and_names_no_other() -> None:
    page = shown(copy_of("Aachen"), PROTOCOL)
    text = text_of(page)
    assert "This hospital, Aachen, gains from the federated model;" in text and STAY not in text
    assert "This is the copy of Aachen" in text
    judged = page[page.index('id="sites"') : page.index('id="learning"')]
    assert "Aachen" in judged and "Holm" not in text_of(page[page.index('id="sites"') : page.index('id="models"')])
    assert not any(other in judged for other in ("Basel", "Charleroi", "Dresden", "Eindhoven"))
    assert "Basel not told" in text and "A site tells a band" in text, "what data the others brought stands as before"
    assert "before this hospital's own figures were added" in text and rows_of_dashes(page) == []


def test_a_copy_shows_no_figure_on_fewer_than_ten_test_patients() -> None:
    text = text_of(shown(copy_of("Aachen", "<10"), PROTOCOL))
    assert text.count("too few to show") == 4, "federated, local, and the difference twice"


def test_blinded_figures_are_shown_without_names() -> None:
    cell = {"median": 0.91, "low": 0.85, "high": 0.97, "sites": 4}
    gap = {"median": 0.01, "low": -0.02, "high": 0.05, "sites": 4}
    result = {
        **totals_only(),
        "site_results": "blinded",
        "blinded": {"metrics": {"federated": {"auroc": cell}}, "paired": {"local": {"auroc": gap}}},
    }
    page = shown(result)
    text = text_of(page)
    assert "From site to site" in text and "0.91 0.85 to 0.97 4" in text and "+0.01" in text and "+0.05 4" in text
    assert STAY not in page, "the coordinator received them"
    assert page.count("o hospital's figures are told here under its name") == 3 and "The coordinator did receive them" in page
    assert "From site to site" not in text_of(shown(totals_only()))


def test_figures_over_sites_begin_with_the_primary_metric() -> None:
    cell = {"median": 0.1, "low": 0.0, "high": 0.2, "sites": 3}
    told = {name: cell for name in ("accuracy", "auroc", "brier")}
    result = {**totals_only(), "site_results": "blinded", "primary": "brier", "lower_is_better": ["brier"]}
    result["blinded"] = {"metrics": {"federated": told, "local": told}, "paired": {"local": told}}
    text = text_of(shown(result))
    table = text[text.index("From site to site") : text.index("How did it learn?")]
    places = [table.index(f"{name} Federated 0.10") for name in ("Brier score ↓", "AUROC", "Accuracy")]
    assert places == sorted(places) and "with few sites one can guess whose a value is" in table


def test_without_models_of_their_own_no_hospital_is_promised_a_verdict() -> None:
    result, copy = totals_only(), copy_of("Aachen")
    for one in (result, copy):
        one["paired"], one["verdicts"], one["verdict_notes"] = {}, {}, {}
        del one["metrics"]["local"]
    page, own = shown(result), shown(copy)
    why = "the study trained no model at each hospital alone"
    assert page.count(why) == own.count(why) == 1
    assert "with them the verdict" not in page and "nothing to draw" not in own and "No verdict was given" not in own
    table = own[own.index("The federated model at this hospital") : own.index("How did it learn?")]
    assert "Verdict" not in table and "Local" not in table and "Aachen" in table and rows_of_dashes(own) == []


def test_a_copy_says_where_its_counts_and_its_log_are() -> None:
    text = text_of(shown(copy_of("Aachen"), PROTOCOL))
    assert "the counts of Aachen stand here because this is its copy" in text
    assert "stands in its own log: run wardround site log in its folder" in text and "No record lies" not in text
    rows = text[text.index("Whose data was it?") : text.index("What left each site?")]
    assert "Charleroi 100-199 not told" in rows, "how many it tested exists, and is not told"
    assert "stands in its own log" not in text_of(shown(totals_only()))


def test_own_figures_that_left_after_the_last_phase_are_counted_by_phase_too(tmp_path: Path) -> None:
    write_folder(tmp_path, totals_only())
    for site in ("Aachen", "Charleroi"):
        log = tmp_path / "record" / "sites" / site / "entries.jsonl"
        log.write_text(log.read_text() + json.dumps({"v": 1, "t": "results", "kind": "results", "bytes": 1500}) + "\n")
    text = text_of(typed(write_report(tmp_path).read_text())).replace("\N{NO-BREAK SPACE}", " ")
    assert "after the last 0 2 2 results 3.0 kB" in text


@pytest.mark.parametrize("first", [0, 1])
def test_a_training_phase_that_began_with_round_0_is_said_to_have_one_round_more(first: int) -> None:
    rows = [{"phase": "train", "round": first + step, "auroc": 0.8 + step / 100, "bytes_up": 9} for step in range(4)]
    text = text_of(shown({**five_sites(), "history": rows}))
    assert ("A training phase has one round more than it trains" in text) is (first == 0)


def test_an_open_study_among_hospitals_is_shown_site_by_site() -> None:
    result = {**five_sites(), "simulation": False, "site_results": "open"}
    page = shown(result)
    assert STAY not in page and "A site tells a band" in page and "Simulation on one machine" not in page
    assert page[page.index('id="sites"') : page.index('id="models"')].count("Dresden") >= 1


def test_the_record_is_where_the_coordinator_is() -> None:
    assert "In the coordinator's folder or a copy" in shown(totals_only())
    assert "In the results folder, offline" in shown(five_sites())
