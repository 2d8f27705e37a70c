"""A hospital's check where a study predicts several labels, and what the contract says of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from tests.data.hospital import Rows
from tests.data.hospital import rows as table
from tests.support import plan
from wardround.data.contract_check import Checked, check
from wardround.data.site_file import SiteFile
from wardround.data.sources.synthetic import Synthetic
from wardround.study.protocol import Contract, Protocol
from wardround.study.protocol.plugged import Plugged
from wardround.study.protocol.summary import as_text, summary

NUMBER = {"type": "number", "unit": "1", "range": [0, 1000]}
ANSWER = {"type": "code", "codes": ["no", "yes"], "missing": "unknown"}
FIELDS: dict[str, Any] = {"age": NUMBER, "fluid": ANSWER, "nodule": ANSWER, "scar": {"type": "code", "codes": ["no", "yes"]}}
LABELS = ["fluid", "nodule", "scar"]


def agreed(labels: list[str] = LABELS, fields: dict[str, Any] = FIELDS) -> Protocol:
    question = {"kind": "multilabel", "title": "t", "purpose": "p"}
    tables = plan(question=question, evaluation={"metrics": ["loss"]})
    return Protocol.model_validate({**tables, "contract": {"labels": labels, "fields": fields}})


def rows(count: int = 300) -> Rows:
    rng, found = np.random.default_rng(3), table(count)
    return {**{name: found[name] for name in ("patient", "age")}, **{name: rng.choice(["no", "yes"], count).tolist() for name in LABELS}}


def checked(columns: Rows, agreed_: Protocol | None = None) -> Checked:
    return check(pl.DataFrame(columns, strict=False), SiteFile(name="north", source=Plugged(kind="table")), agreed_ or agreed())


def said(result: Checked, level: str) -> list[str]:
    return [finding.sentence for finding in result.report.findings if finding.level == level]


def test_unknown_answers_stay_and_are_marked() -> None:
    columns = rows()
    for row in range(0, 300, 3):
        columns["fluid"][row] = ""
    result = checked(columns)
    assert result.dataset is not None and not said(result, "error") and not said(result, "warning")
    assert np.flatnonzero(result.dataset.columns["fluid"] < 0).tolist() == list(range(0, 300, 3))
    assert np.all(result.dataset.columns["scar"] >= 0)


def test_a_label_that_may_not_be_unknown_is_refused_where_it_is() -> None:
    columns = rows()
    columns["scar"][:20] = [""] * 20
    assert any(sentence.startswith("scar: is missing in 20 rows") for sentence in said(checked(columns), "error"))


@pytest.mark.parametrize("gone", ["column", "values"])
def test_a_site_that_never_looks_for_one_finding_takes_part(gone: str) -> None:
    columns = rows()
    if gone == "column":
        del columns["nodule"]
    else:
        columns["nodule"] = [""] * 300
    result = checked(columns)
    assert result.dataset is not None and np.all(result.dataset.columns["nodule"] == -1)
    assert [sentence.partition(":")[0] for sentence in said(result, "warning")] == ["nodule"]


def test_a_class_absent_is_named_with_its_label() -> None:
    columns = rows()
    columns["nodule"] = ["no"] * 300
    columns["scar"] = ["no"] * 297 + ["yes"] * 3
    result = checked(columns)
    assert result.dataset is not None
    warned = said(result, "warning")
    assert "nodule: all rows of the site have the same class." in warned
    assert any(sentence.startswith("scar: ") for sentence in warned) and not any(sentence.startswith("fluid") for sentence in warned)


def test_rows_without_any_answer_are_counted_and_a_site_of_them_is_refused() -> None:
    fields = {**FIELDS, "scar": ANSWER}
    columns = rows()
    for name in LABELS:
        columns[name][:40] = [""] * 40
    result = checked(columns, agreed(fields=fields))
    assert "In 40 rows no label is known at all." in said(result, "warning")
    for name in LABELS:
        columns[name] = [""] * 300
    refused = checked(columns, agreed(fields=fields))
    assert refused.dataset is None and any("nothing can be learnt here" in sentence for sentence in said(refused, "error"))


@pytest.mark.parametrize(
    ("contract", "words"),
    [
        ({"labels": ["fluid"], "fields": FIELDS}, "two or more different fields; write label = 'fluid'"),
        ({"labels": ["fluid", "fluid"], "fields": FIELDS}, "two or more different fields"),
        ({"labels": ["fluid", "lost"], "fields": FIELDS}, "'lost' is not one of the fields"),
        ({"label": "scar", "labels": LABELS, "fields": FIELDS}, "there is a label too"),
        ({"labels": LABELS, "fields": {**FIELDS, "scar": {**ANSWER, "missing": "mean"}}}, "may be unknown and nothing else"),
        ({"label": "scar", "fields": FIELDS}, "'unknown' is for one of several labels"),
        ({"label": "fluid", "fields": {"age": NUMBER, "fluid": ANSWER}}, "a label cannot be missing"),
        ({"labels": ["fluid", "nodule", "scar"], "fields": {name: FIELDS[name] for name in LABELS}}, "no field is left as input"),
    ],
)
def test_labels_that_cannot_be_are_refused(contract: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Contract.model_validate(contract)


def test_labels_keep_their_order_and_a_plan_without_them_does_not_know_the_key() -> None:
    contract = agreed(["scar", "fluid", "nodule"]).contract
    assert contract.targets == contract.labels == ("scar", "fluid", "nodule") and contract.inputs == ("age",)
    alone = Contract.model_validate({"label": "scar", "fields": {name: FIELDS[name] for name in ("age", "scar")}})
    assert alone.targets == ("scar",) and "labels" not in alone.model_dump() and contract.model_dump()["labels"] == contract.labels


def test_the_page_names_every_label_and_which_may_be_unknown() -> None:
    text = " ".join(as_text(summary(agreed().complete())).split())
    assert "predicts 'fluid', one of no, yes; 'nodule', one of no, yes; 'scar', one of no, yes from 1 inputs" in text
    assert "May be unknown, and then left out of training and tests of that label alone: fluid, nodule." in text
    assert "Read, but not seen by the model" not in text


def test_made_up_rows_have_every_label_with_gaps_where_these_may_be() -> None:
    frame = Synthetic(rows=400, seed=1, missing=0.3, effect=4.0).read(agreed().contract)
    gaps = {name: frame[name].null_count() for name in LABELS}
    assert 80 < gaps["fluid"] < 160 and 80 < gaps["nodule"] < 160 and gaps["scar"] == 0
    both = frame.drop_nulls(["fluid", "nodule"])
    assert 0 < (both["fluid"] != both["nodule"]).sum() < len(both)
