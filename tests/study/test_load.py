"""Reading a study: what is wrong is said with line, key and remedy, all of it at once."""

from __future__ import annotations

import copy
import json

import pytest

from wardround.study.findings import FileRefused, Finding
from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.templates import template

GOOD = template("binary")


def refused(text: str) -> tuple[Finding, ...]:
    with pytest.raises(FileRefused) as caught:
        read_protocol(text, "study.toml")
    return caught.value.findings


def changed(old: str, new: str) -> str:
    assert GOOD.count(old) == 1, f"{old!r} stands {GOOD.count(old)} times in the template"
    return GOOD.replace(old, new)


def line_with(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), start=1) if part in line)


# what is replaced, by what, part of the line that is named, key, part of what is wrong, part of the remedy
ONE_SLIP = [
    ('study = "my-study"', 'study = "my study"', "study =", "study", "not a name", "letter"),
    ('study = "my-study"', "", "", "study", "missing", "Add it"),
    ("[rounds]", "[round]", "[round]", "round", "no such key", "Did you mean 'rounds'?"),
    ("quorum = 3", "quorom = 2", "quorom", "rounds.quorom", "no such key", "Did you mean 'quorum'?"),
    ("quorum = 3", "quorum = 0", "quorum", "rounds.quorum", "greater than or equal to 1", ""),
    ("quorum = 3", "quorum = true", "quorum", "rounds.quorum", "whole number", "without quotes"),
    ("quorum = 3", 'quorum = "2"', "quorum", "rounds.quorum", "whole number", "without quotes"),
    ("quorum = 3", "quorum = 11", "quorum", "rounds.quorum", "larger than bounds.sites", "smaller"),
    ("margin = 0.01", "margin = inf", "margin", "evaluation.margin", "finite", ""),
    ('"brier", "auroc",', '"brier", "aurok",', "metrics =", "evaluation.metrics", "no metric 'aurok'", "auroc"),
    ('"auprc", "accuracy"', '"auprc", "auroc"', "metrics =", "evaluation.metrics", "twice", "leave out"),
    (
        "tune = { learning_rate",
        "tune = { learning_rat",
        "tune",
        "evaluation.tune.learning_rat",
        "no phase",
        "Did you mean 'learning_rate'?",
    ),
    ("[0.05, 0.2, 0.5]", "[0.02, 0.02]", "tune", "evaluation.tune.learning_rate", "twice", ""),
    ("[0.05, 0.2, 0.5]", "[0.02, -1]", "tune", "evaluation.tune", "learning_rate", ""),
    ("# target = 0.05 ", "target = -1 ", "target", "stop.target", "brier is never below 0", ""),
    ('kind = "fedavg"', 'kind = "fedavgg"', 'kind = "fedavgg"', "phases.train.kind", "no algorithm", "fedavg"),
    ("rounds = 60", "rounds = 0", "rounds = 0", "phases.train.rounds", "greater than or equal to 1", ""),
    ("batch_size = 32", "batch_sise = 32", "batch_sise", "phases.train.batch_sise", "no such option", "'batch_size'"),
    ('name = "local" ', 'name = "train" ', "[[phases]]", "phases", "own name", "rename"),
    ("normalise =", "normalize =", "normalize", "model.normalize", "no such option", "Did you mean 'normalise'?"),
    ('positive = "yes"', 'positive = "maybe"', "positive", "question.positive", "not a code", "no, yes"),
    ('label = "readmitted"', 'label = "readmited"', "label =", "contract.label", "not one of the fields", "readmitted"),
    ("range = [18, 110]", "range = [110, 18]", "age =", "contract.fields.age.range", "smaller", ""),
    ('unit = "a", ', "", "age =", "contract.fields.age", "unit", "unit = '1'"),
    ('type = "number", unit = "a"', 'typ = "number", unit = "a"', "age =", "contract.fields.age.typ", "no such key", "'type'"),
    ('patient = "patient" ', 'patient = "age" ', "age =", "contract.fields.age", "patient or time column", ""),
    ("# expires = 2027-12-31", 'expires = "soon"', "expires", "parties.expires", "date", ""),
    ("patience = 10", 'keep = "last"  # planted\npatience = 8', "# planted", "stop.keep", "validation judged worse", "best"),
    ("[contract]  ", 'initial = { model = "sha256:00" }\n[contract]  ', "", "parties.initial", "no such key", ""),
    ('study = "my-study"', 'study = "my-study"\nunregistered = ["model"]', "unregistered", "unregistered", "written by the program", ""),
    ('kind = "moments"', 'kind = "local"', "", "phases.train", "needs the moments", "kind 'moments'"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "wrong", "remedy"), ONE_SLIP, ids=[f"{slip[3]}: {slip[4]}" for slip in ONE_SLIP])
def test_a_slip_is_named_with_line_key_and_remedy(old: str, new: str, line: str, key: str, wrong: str, remedy: str) -> None:
    text = changed(old, new)
    found = [finding for finding in refused(text) if finding.key == key and wrong in finding.wrong]
    assert found, refused(text)
    assert remedy.lower() in found[0].remedy.lower()
    assert found[0].remedy.endswith((".", "?"))
    if line:
        assert found[0].line == line_with(text, line)


def test_a_target_of_a_metric_that_grows_lies_between_0_and_1() -> None:
    text = changed('metrics = ["brier", "auroc"', 'metrics = ["auroc", "brier"').replace("# target = 0.05 ", "target = 1.5 ")
    (finding,) = refused(text)
    assert (finding.key, finding.line) == ("stop.target", line_with(text, "target = 1.5"))
    assert "auroc lies between 0 and 1" in finding.wrong


def test_all_findings_are_listed_in_order_of_line() -> None:
    text = GOOD.replace("quorum = 3", "quorum = -1").replace("batch_size = 32", "batch_size = 0").replace('study = "my-study"', "")
    findings = refused(text)
    assert [finding.key for finding in findings] == ["study", "phases.train.batch_size", "rounds.quorum"]
    with pytest.raises(FileRefused, match=r"study\.toml: 3 things are wrong"):
        read_protocol(text, "study.toml")


def test_a_message_for_one_finding_is_one_sentence_with_file_line_and_key() -> None:
    text = changed("quorum = 3", "quorum = 0")
    with pytest.raises(FileRefused) as caught:
        read_protocol(text, "here/study.toml")
    assert caught.value.message.startswith(f"here/study.toml, line {line_with(text, 'quorum')}, rounds.quorum: must be")
    copied = copy.copy(caught.value)
    assert str(copied) == str(caught.value)
    assert copied.findings == caught.value.findings


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = = 2\n", 2), ("a = [1,\n2\n", 3), ('a = "x\n', 1), ("a = 1\na = 2", 2), ("[t]\n[t]\n", 2)]
)
def test_what_is_not_toml_is_said_with_its_line(text: str, line: int) -> None:
    (finding,) = refused(text)
    assert "not TOML" in finding.wrong
    assert finding.line == line


@pytest.mark.parametrize(
    "text",
    ["", "question = 1", "phases = 3", "phases = [1]", "[[question]]", "[[phases]]\nname = 4", "model = []", "[contract]\nfields = []"],
)
def test_nonsense_gives_findings_and_no_traceback(text: str) -> None:
    assert len(refused(text)) > 3


def test_options_must_be_a_table() -> None:
    findings = refused(changed('kind = "logistic" ', 'options = 3\nkind = "logistic" '))
    assert "model.options" in {finding.key for finding in findings}


def test_defaults_are_spelled_out_and_the_order_of_keys_does_not_matter() -> None:
    protocol = read_protocol(GOOD, "study.toml")
    assert protocol.phases[1].options["server_optimiser"] == "sgd"
    age = next(line for line in GOOD.splitlines() if line.startswith("age ="))
    moved = GOOD.replace(age + "\n", "").replace("[model]", age + "\n\n[model]")
    assert moved != GOOD
    assert read_protocol(moved, "study.toml").digest == protocol.digest
    assert read_protocol(moved, "study.toml").contract.inputs == protocol.contract.inputs


def test_a_protocol_read_back_from_its_canonical_bytes_is_the_same() -> None:
    protocol = read_protocol(changed("# expires = 2027-12-31", "expires = 2027-12-31"), "study.toml")
    again = Protocol.model_validate(json.loads(protocol.canonical))
    assert again.digest == protocol.digest
    assert list(again.contract.fields) == list(protocol.contract.fields)
    assert [one.phase for one in again.algorithms] == [one.phase for one in protocol.algorithms]
    assert [one.options for one in again.algorithms] == [one.options for one in protocol.algorithms]
