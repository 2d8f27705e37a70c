"""Show a result in a notebook: the answer first, then what must be known with it, then the figures that carry it."""

from __future__ import annotations

from html import escape
from pathlib import Path

from wardround.pages import words
from wardround.pages.figures import Result, better, level, models, primary
from wardround.pages.headline import headline


def result_card(result: Result, folder: Path) -> str:
    """Return a small HTML card: the answer in one sentence, warnings, the primary metric of each model, and where the report lies.

    Args:
        result: contents of result.json; a study that only trained or only counted has no metrics, and then no table.
        folder: of the study.
    """
    warnings = "".join(f'<p role="note"><strong>Warning.</strong> {escape(one)}</p>' for one in result.get("warnings") or ())
    answer, report = escape(headline(result)), escape(str(folder / "report.html"))
    return f"<div><p><strong>{answer}</strong></p>{warnings}{_table(result)}<p>{report}</p></div>"


def _table(result: Result) -> str:
    name = primary(result)
    there = [model for model in words.MODELS if model in models(result)]
    if not name or not there:
        return ""
    rows = "".join(f"<tr><td>{escape(words.MODELS[model][0])}</td><td>{_figure(result, model, name)}</td></tr>" for model in there)
    smaller = ", smaller is better" if better(result, name) < 0 else ""
    synthetic = " (synthetic data)" if result.get("synthetic") else ""
    head = f"{escape(words.metric(name))}{smaller}{synthetic}"
    return f"<table><thead><tr><th>Model</th><th>{head}</th></tr></thead><tbody>{rows}</tbody></table>"


def _figure(result: Result, model: str, metric: str) -> str:
    shown = level(result, model, metric)
    return "not defined" if shown.value is None else shown.text()
