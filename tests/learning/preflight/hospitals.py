"""Hold hospitals' rows beside each other in memory: the true check, the true answers, the true comparison; only the engine is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from wardround.data.contract_check import check
from wardround.data.site_file import SiteFile
from wardround.learning.preflight.algorithm import Preflight
from wardround.study.dataset import Dataset
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.streams import Stream
from wardround.study.task import State

Row = dict[str, str]
HEAD = """
kind = "statistics"
study = "compared"
[question]
title = "Compared"
purpose = "Test."
[parties]
coordinator = "Test centre"
[contract]
{time}
[contract.fields]
{fields}
[[phases]]
name = "preflight"
kind = "preflight"
label = "{label}"
[bounds]
sites = 10
examples = 2000
[rounds]
quorum = 2
combine = "append"
[privacy]
counts = true
smallest_count = {least}
[evaluation]
site_results = "{site_results}"
"""
FIELDS = {
    "age": '{ type = "number", unit = "a", range = [0, 120], outside = "keep" }',
    "temperature": '{ type = "number", unit = "Cel", range = [30, 45], outside = "keep" }',
    "glucose": '{ type = "number", unit = "mg/dL", range = [20, 800], outside = "keep" }',
    "sex": '{ type = "code", codes = ["f", "m"], outside = "keep" }',
    "ward": '{ type = "code", codes = ["a", "b", "c"], outside = "keep" }',
    "ill": '{ type = "code", codes = ["no", "yes"], outside = "keep" }',
}


def plan(
    fields: Mapping[str, str] = FIELDS, least: int = 10, timed: bool = False, label: str = "ill", site_results: str = "blinded"
) -> Protocol:
    """Return a preflight's plan."""
    listed = "\n".join(f"{name} = {one}" for name, one in fields.items())
    time = 'time = "seen"' if timed else ""
    text = HEAD.format(time=time, fields=listed, label=label, least=least, site_results=site_results)
    return read_protocol(text, "study.toml")


def rows(seed: int, count: int = 90) -> list[Row]:
    """Return made-up patients: the ill are older, warmer and have more glucose."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        ill = rng.random() < 0.4
        found.append(
            {
                "age": f"{np.clip(rng.normal(58 + 9 * ill, 10), 0, 119):.0f}",
                "temperature": f"{rng.normal(36.9 + 0.5 * ill, 0.5):.1f}",
                "glucose": f"{np.exp(rng.normal(4.65 + 0.25 * ill, 0.2)):.0f}",
                "sex": str(rng.choice(["f", "m"], p=[0.6, 0.4])),
                "ward": str(rng.choice(["a", "b", "c"], p=[0.5, 0.3, 0.2])),
                "ill": "yes" if ill else "no",
            }
        )
    return found


def hospitals(count: int = 4, size: int = 90) -> dict[str, list[Row]]:
    """Return so many hospitals whose patients are drawn alike."""
    return {f"site{number}": rows(number, size) for number in range(count)}


def dataset(protocol: Protocol, site: str, listed: Sequence[Row], **site_file: Any) -> Dataset:
    """Return a hospital's rows as its worker sees them."""
    columns = {name: [row[name] for row in listed] for name in listed[0]}
    frame = pl.DataFrame({"patient": [f"{site}-{number}" for number in range(len(listed))], **columns})
    file = SiteFile.model_validate({"name": site, "source": {"kind": "table", "options": {"path": "rows.csv"}}, **site_file})
    checked = check(frame.with_columns(pl.all().replace("", None)), file, protocol)
    assert checked.dataset is not None, str(checked.report)
    return checked.dataset


def algorithm(protocol: Protocol) -> Preflight:
    """Return the plan's preflight."""
    (found,) = protocol.algorithms
    assert isinstance(found, Preflight)
    return found


def told(protocol: Protocol, data: Dataset) -> dict[str, np.ndarray]:
    """Return what a hospital tells, and see that it is what was asked for."""
    one = algorithm(protocol)
    ask = one.ask(State("preflight", 0, {}))
    answer, kept = one.answer(ask, data, {}, Stream.public(1))
    assert {term.name: term.shape for term in ask.layout} == {name: value.shape for name, value in answer.sums.items()}
    assert kept is not None
    return dict(answer.sums)


def results(protocol: Protocol, given: Mapping[str, Sequence[Row]], **site_files: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return a phase's results over these hospitals; `site_files` holds more of a site's file, by site."""
    found: dict[str, np.ndarray] = {}
    for site, listed in given.items():
        summary = told(protocol, dataset(protocol, site, listed, **site_files.get(site, {})))
        found.update({f"{site}/{name}": value for name, value in summary.items()})
    return found


def compared(protocol: Protocol, given: Mapping[str, Sequence[Row]], **site_files: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a preflight over these hospitals comes to."""
    return algorithm(protocol).told(results(protocol, given, **site_files))


def found(table: Mapping[str, Any], *grades: str) -> list[tuple[str, str, str, str]]:
    """Return field, site, kind and sentence of each finding of these grades."""
    return [
        (field["field"], site, each["kind"], each["sentence"])
        for field in table["fields"]
        for site, one in field["sites"].items()
        for each in one["findings"]
        if each["grade"] in grades
    ]
