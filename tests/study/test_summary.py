"""The page for the data-protection officer says what the protocol says, privacy first and the digest last."""

from __future__ import annotations

import pytest

from wardround.study.protocol import Protocol
from wardround.study.protocol.load import read_protocol
from wardround.study.protocol.summary import as_text, summary
from wardround.study.protocol.templates import template

GOOD = template("binary")
PLAIN = GOOD.replace('combine = "secure"', 'combine = "plain" ').replace("counts = false", "counts = true ")


def page(text: str = GOOD) -> str:
    return as_text(summary(read_protocol(text, "study.toml")), width=10_000)


def test_privacy_stands_first_and_the_digest_last() -> None:
    protocol = read_protocol(GOOD, "study.toml")
    parts = summary(protocol)
    assert parts[0].lines[0].startswith("No differential privacy")
    assert parts[-1].lines == (protocol.digest,)


def test_every_field_and_every_phase_is_named() -> None:
    protocol = read_protocol(GOOD, "study.toml")
    text = page()
    for name in (*protocol.contract.inputs, protocol.contract.label, *(phase.name for phase in protocol.phases)):
        assert name in text


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("rounds = 60", "rounds = 7", "at most 24 messages for 3 settings"),
        ("tune = ", "# tune = ", "2. train: at most 61 messages, with"),
        ("quorum = 3", "quorum = 4", "at least 4 hospitals"),
        ("due_seconds = 3600", "due_seconds = 172800", "2 days to answer"),
        ('combine = "secure"', 'combine = "plain" ', "may not leave a hospital in these sums"),
        ("quorum = 3", "quorum = 8", "closes with at most 2 of them absent, so with at least 8"),
        ("quorum = 3", "quorum = 8", "no total over fewer than 8 hospitals"),
        ('patient = "patient" ', 'patient = ""', "all figures are about rows"),
        ("test = 0.2", "test = 0.3", "50% training, 20% validation, 30% test"),
        ("# target = 0.05", "target = 0.05", "brier on validation patients reaches 0.05"),
        ("patience = 10", 'keep = "last"', "that of the last round"),
        ("# expires = 2027-12-31", "expires = 2027-12-31", "after 2027-12-31"),
        ("margin = 0.01", "margin = 0.07", "0.07"),
        ('missing = "indicator"', 'missing = "mean"', "A missing value in admission, creatinine: the mean takes its place"),
        ('normalise = "federated"', 'normalise = "site"', "each hospital's own mean"),
        ("sites = 10 ", "sites = 12 ", "At most 12 hospitals"),
        ("margin = 0.01", 'site_results = "open"', "see them with the hospital's name, and its verdict (evaluation.site_results)"),
        ("margin = 0.01", 'site_results = "open"', "own test figures (brier, auroc, auprc, accuracy, calibration_error and the like, with"),
        ("margin = 0.01", 'site_results = "blinded"', "each metric's median, lowest and highest value over three hospitals or more"),
        ("margin = 0.01", 'site_results = "blinded"', "not under masks; none with fewer than 10 test patients"),
    ],
)
def test_what_changes_in_the_study_changes_on_the_page(old: str, new: str, said: str) -> None:
    text = GOOD.replace(old, new)
    assert text != GOOD
    assert said in page(text)
    assert said not in page()


def test_unregistered_code_is_named() -> None:
    protocol: Protocol = read_protocol(GOOD, "study.toml").changed(unregistered=("aggregator",))
    assert "Unregistered code takes part (aggregator)" in as_text(summary(protocol), width=10_000)


def test_lines_are_folded() -> None:
    lines = as_text(summary(read_protocol(GOOD, "study.toml")), width=80).splitlines()
    assert max(len(line) for line in lines) <= 80


def test_the_page_does_not_deny_what_histograms_can_show() -> None:
    parts = {part.title: " ".join(part.lines) for part in summary(read_protocol(PLAIN, "study.toml"))}
    assert "they can show single patients' scores and labels" in parts["What leaves each hospital"]
    assert "single patients' scores and labels" in parts["What this does not protect against"]
    assert "prediction for a single patient" not in parts["What never leaves"]
    none = {
        part.title: " ".join(part.lines) for part in summary(read_protocol(PLAIN.replace("counts = true", "counts = false"), "study.toml"))
    }
    assert "histograms: at a small hospital" not in none["What leaves each hospital"]
    assert "The prediction for a single patient." in none["What never leaves"]


def test_the_page_says_what_a_secure_sum_hides_and_what_it_does_not() -> None:
    parts = {part.title: " ".join(part.lines) for part in summary(read_protocol(GOOD, "study.toml"))}
    assert "sees only their total" in parts["Privacy"] and "Plain sums" not in parts["Privacy"]
    assert "four small ones of the secure sum" in parts["What leaves each hospital"]
    for said in ("carry no noise", "can add false sums up to its limits unseen", "take their own sums off the total"):
        assert said in parts["What this does not protect against"]
    plain = as_text(summary(read_protocol(PLAIN, "study.toml")), width=10_000)
    assert "ecure sum" not in plain and "carry no noise" not in plain


@pytest.mark.parametrize(
    ("sites", "quorum", "said"),
    [
        (3, 3, "in which 3 hospitals begin closes only if none of them is absent; of fewer nothing is learnt."),
        (4, 3, "in which 4 hospitals begin closes with at most 1 of them absent, so with at least 3;"),
        (40, 3, "in which 40 hospitals begin closes with at most 13 of them absent, so with at least 27;"),
    ],
)
def test_how_many_may_be_absent_follows_from_the_number_of_hospitals(sites: int, quorum: int, said: str) -> None:
    text = page(GOOD.replace("sites = 10 ", f"sites = {sites} ").replace("quorum = 3 ", f"quorum = {quorum} "))
    assert said in text
    assert ("Where fewer begin" in text) is (sites > 3)


def test_the_page_says_what_sums_in_groups_show_and_leave_out() -> None:
    text = GOOD.replace("sites = 10 ", "sites = 24 ").replace('combine = "secure"', 'combine = "bucketed"')
    parts = {part.title: " ".join(part.lines) for part in summary(read_protocol(text, "study.toml"))}
    assert "the coordinator sees the total of each group" in parts["Privacy"] and "simulations only" not in str(parts)
    assert "Of 4 groups it leaves out, number by number, the one highest and the one lowest." in parts["Privacy"]
    for said in ("A total of five hospitals shows more", "with up to 2 hospitals on its side", "it may influence who is with whom"):
        assert said in parts["What this does not protect against"]
    assert "three of five" in str(parts)
