"""What cannot be asked gets one clear sentence with its key and a remedy."""

from __future__ import annotations

import pytest

from tests.learning.statistics.studies import text
from wardround.study.findings import FileRefused
from wardround.study.protocol.load import read_protocol

SURVIVAL = 'time = "days"\nevent = "died"\nhappened = "yes"\n'


def refused(study: str) -> FileRefused:
    with pytest.raises(FileRefused) as caught:
        read_protocol(study, "study.toml")
    return caught.value


@pytest.mark.parametrize(
    ("kind", "options", "key", "says", "remedy"),
    [
        ("describe", 'fields = ["agee"]', "phases.describe.fields", "no field 'agee'", "Did you mean 'age'"),
        ("quantiles", 'fields = ["sex"]', "phases.quantiles.fields", "'sex' is a code", "Name another"),
        ("histogram", 'fields = ["age", "age"]', "phases.histogram.fields", "twice", "Leave out"),
        ("crosstab", 'rows = "sex"\ncolumns = "sex"', "phases.crosstab.columns", "same field", "Name another"),
        ("correlation", 'fields = ["age"]', "phases.correlation.fields", "two numbers", "two fields or more"),
        ("survival", SURVIVAL, "phases.survival.until", "no end", "Write until = 50"),
        ("survival", f"{SURVIVAL}until = 50\nstep = 0.0001", "phases.survival.step", "cells", "larger step"),
        ("survival", SURVIVAL.replace('"yes"', '"ja"') + "until = 50", "phases.survival.happened", "'ja'", "no, yes"),
        ("survival", f"{SURVIVAL}until = -3", "phases.survival.until", "greater than 0", ""),
    ],
)
def test_an_option_that_does_not_fit_is_named(kind: str, options: str, key: str, says: str, remedy: str) -> None:
    (finding,) = refused(text("secure", kinds=[kind], options={kind: options})).findings
    assert finding.key == key and says in finding.wrong and remedy in finding.remedy
    assert finding.line is not None


def test_negative_times_are_refused_before_any_data() -> None:
    study = text("secure", kinds=["survival"]).replace("range = [0, 50]", "range = [-5, 50]")
    (finding,) = refused(study).findings
    assert finding.key == "phases.survival.time" and "negative" in finding.wrong and "begin at 0" in finding.remedy


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ('[model]\nkind = "mlp"\n', "model"),
        ('[evaluation]\nmetrics = ["auroc"]\n', "evaluation"),
        ("[stop]\npatience = 3\n", "stop"),
    ],
)
def test_what_belongs_to_training_is_refused(more: str, key: str) -> None:
    assert [one.key for one in refused(text("secure", kinds=["describe"]) + more).findings] == [key]


def test_a_training_phase_is_refused() -> None:
    study = text("secure", kinds=["describe"]).replace('kind = "describe"', 'kind = "moments"')
    (finding,) = refused(study).findings
    assert finding.key == "phases.describe.kind" and "crosstab" in finding.remedy


def test_a_number_is_divided_in_one_way_where_totals_are_held_back() -> None:
    options = {"histogram": "bins = 10", "crosstab": 'rows = "age"\ncolumns = "sex"\nbins = 5'}
    (finding,) = refused(text("secure", 10, ["histogram", "crosstab"], options=options)).findings
    assert finding.key == "phases.crosstab.bins" and "10 bins" in finding.wrong and "bins = 10" in finding.remedy
    assert read_protocol(text("secure", 1, ["histogram", "crosstab"], options=options), "study.toml")


def test_plain_counts_must_be_said() -> None:
    (finding,) = refused(text("plain", kinds=["describe"], counts=False)).findings
    assert finding.key == "privacy.counts" and "secure" in finding.remedy
    assert read_protocol(text("secure", kinds=["describe"], counts=False), "study.toml").kind == "statistics"


def test_a_study_that_trains_keeps_its_digest_and_needs_a_label() -> None:
    from wardround.study.protocol.templates import template

    trains = read_protocol(template("binary"), "study.toml")
    assert b'"kind":"training"' not in trains.canonical and b"smallest_count" not in trains.canonical
    label = next(line for line in template("binary").splitlines() if line.startswith("label"))
    assert "contract.label" in {one.key for one in refused(template("binary").replace(label, "")).findings}
