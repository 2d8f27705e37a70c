"""Show a result in a notebook: the answer first, then the figures that carry it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from wardround.pages.headline import headline

ORDER = ("federated", "local", "pooled", "ensemble", "best_single")


def result_card(result: Mapping[str, Any], folder: Path) -> str:
    """Return a small HTML card: the answer in one sentence, the primary metric of each model with its interval, and where the report lies.

    Args:
        result: contents of result.json.
        folder: of the study.
    """
    primary = str(result["primary"])
    rows = "".join(
        f"<tr><td>{escape(model.replace('_', ' '))}</td><td>{_interval(result['metrics'][model]['all'][primary])}</td></tr>"
        for model in ORDER
        if model in result["metrics"]
    )
    synthetic = " (synthetic data)" if result.get("synthetic") else ""
    return (
        f"<div><p><strong>{escape(headline(result))}</strong></p>"
        f"<table><thead><tr><th>model</th><th>{escape(primary)}{synthetic}</th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p>{escape(str(folder / 'report.html'))}</p></div>"
    )


def _interval(one: Mapping[str, float | None]) -> str:
    if one["value"] is None:
        return "not defined"
    if one["low"] is None or one["high"] is None:
        return f"{one['value']:.3f}"
    return f"{one['value']:.3f} ({one['low']:.3f} to {one['high']:.3f})"
