"""A hospital's own rules: what is not allowed there does not happen, and the refusal names the rule."""

from __future__ import annotations

import datetime
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import PHASES, protocol
from wardround.record.note import fingerprint
from wardround.site.rules import Rules, read_rules, rules_text
from wardround.study.errors import PolicyRefused, ProtocolError
from wardround.study.layout import Term

AGREED, QUIET = protocol(privacy={"counts": True}), protocol()
SECURE = protocol(rounds={"quorum": 3, "combine": "secure"})
NORTH, NORTHS = "ab" * 32, f"north {fingerprint('ab' * 32)}"
OPEN: dict[str, Any] = {
    "purposes": ["*"],
    "models": ["*"],
    "sources": ["*"],
    "min_patients": 1,
    "rounds": 1000,
    "hours": "any",
    "may_leave": ["sums", "counts", "record"],
    "release": "auto",
}
SUM, TALLY, COUNT = Term.sized("s", (2,), 1.0, 3), Term.count("t", (4,), 100, 3), Term.count("examples", (), 100, 3)
NOON = datetime.datetime(2026, 11, 20, 12, 0)


def rules(**changes: Any) -> Rules:
    return Rules.model_validate({**OPEN, **changes})


def broken(made: Rules, source: str = "table", patients: int = 100) -> list[str]:
    return [rule for rule, _ in made.complaints(AGREED, source, patients)]


def test_rules_that_allow_all_allow_the_study() -> None:
    assert broken(rules()) == []
    rules().permit(AGREED, (SUM, TALLY, COUNT), "table", 100, NOON)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"purposes": []}, "purposes"),
        ({"purposes": ["research*"]}, "purposes"),
        ({"purposes": ["tes"]}, "purposes"),
        ({"models": []}, "models"),
        ({"models": ["logistic"]}, "models"),
        ({"sources": []}, "sources"),
        ({"sources": ["synthetic"]}, "sources"),
        ({"min_patients": 101}, "min_patients"),
        ({"rounds": 1}, "rounds"),
        ({"may_leave": []}, "may_leave"),
        ({"may_leave": ["counts", "record"]}, "may_leave"),
        ({"may_leave": ["sums", "record"]}, "may_leave"),
    ],
)
def test_each_rule_forbids_by_its_name(change: dict[str, Any], rule: str) -> None:
    made = rules(**change)
    assert set(broken(made)) == {rule}
    with pytest.raises(PolicyRefused, match=f"the site's rule {rule} forbids it") as error:
        made.permit(AGREED, (SUM,), "table", 100, NOON)
    assert rule in error.value.remedy


@pytest.mark.parametrize("told", ["blinded", "open"])
def test_own_figures_leave_only_where_the_hospital_says_so(told: str) -> None:
    wants = protocol(evaluation={"site_results": told})
    assert [rule for rule, _ in rules().complaints(wants, "table", 100)] == ["may_leave"]
    with pytest.raises(PolicyRefused, match="own test figures"):
        rules().permit(wants, (SUM,), "table", 100, NOON)
    allowing = rules(may_leave=["sums", "record", "results"])
    assert list(allowing.complaints(wants, "table", 100)) == []
    assert 'may_leave = ["sums", "results", "record"]' in rules_text(wants)
    assert "results" not in rules_text(QUIET)
    without = protocol(evaluation={"site_results": told}, phases=PHASES[:2])
    assert list(rules().complaints(without, "table", 100)) == [], "without an evaluation there are no figures"


def test_the_limits_themselves_are_allowed() -> None:
    most = max(algorithm.leaves()[0] for algorithm in AGREED.algorithms)
    assert broken(rules(min_patients=100, rounds=most)) == []
    assert broken(rules(rounds=most - 1)) == ["rounds"]


def test_counts_of_a_study_without_counts_are_refused_when_they_are_asked_for() -> None:
    made = rules(may_leave=["sums"])
    assert list(made.complaints(QUIET, "table", 100)) == []
    made.permit(QUIET, (SUM, COUNT), "table", 100, NOON)
    with pytest.raises(PolicyRefused, match="may_leave"):
        made.permit(QUIET, (SUM, TALLY), "table", 100, NOON)


@pytest.mark.parametrize(
    ("hours", "time", "allowed"),
    [
        ("any", "00:00", True),
        ("08:00-18:00", "08:00", True),
        ("08:00-18:00", "17:59", True),
        ("08:00-18:00", "18:00", False),
        ("08:00-18:00", "07:59", False),
        ("20:00-06:00", "20:00", True),
        ("20:00-06:00", "23:59", True),
        ("20:00-06:00", "00:00", True),
        ("20:00-06:00", "05:59", True),
        ("20:00-06:00", "06:00", False),
        ("20:00-06:00", "12:00", False),
        ("20:00-24:00", "23:59", True),
        ("20:00-24:00", "00:00", False),
        ("08:00-08:00", "08:00", False),
    ],
)
def test_hours_are_kept_over_midnight_too(hours: str, time: str, allowed: bool) -> None:
    made, now = rules(hours=hours), datetime.time.fromisoformat(time)
    assert made.open_at(now) is allowed
    moment = datetime.datetime.combine(NOON, now)
    if allowed:
        made.permit(AGREED, (SUM,), "table", 100, moment)
    else:
        with pytest.raises(PolicyRefused, match=f"hours forbids it: answers leave between {hours} only"):
            made.permit(AGREED, (SUM,), "table", 100, moment)


@pytest.mark.parametrize("hours", ["", "8:00-18:00", "08:00 - 18:00", "25:00-26:00", "08:00-18:60", "24:00-06:00", "20:00-24:30", "always"])
def test_hours_that_are_none_are_refused(hours: str) -> None:
    with pytest.raises(ValueError, match="hours"):
        rules(hours=hours)


@pytest.mark.parametrize(
    ("release", "held"), [("auto", [False, False, False]), ("first-round", [True, False, False]), ("every", [True] * 3)]
)
def test_what_waits_for_a_person(release: str, held: list[bool]) -> None:
    assert [rules(release=release).holds(earlier) for earlier in (0, 1, 2)] == held


@given(st.text("abzÄß 19[]?*!\\.-\"'^$+(", min_size=1, max_size=30), st.booleans())
def test_a_purpose_fits_itself_in_any_capitals_and_nothing_else(purpose: str, loud: bool) -> None:
    """Only the star means more than itself: a bracket or a question mark in a purpose is one."""
    written = purpose.strip() or "x"
    agreed = QUIET.changed(question={**QUIET.question.model_dump(), "purpose": written})
    allowed = written.upper() if loud else written
    assert [rule for rule, _ in rules(purposes=[allowed]).complaints(agreed, "table", 100)] == []
    if "*" not in written:
        for other in (f"{allowed}x", f"x{allowed}", allowed[1:]):
            assert [rule for rule, _ in rules(purposes=[other]).complaints(agreed, "table", 100)] == ["purposes"]


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("*", True),
        ("TEST.", True),
        ("te*", True),
        ("*st.", True),
        ("t*t.", True),
        ("te", False),
        ("t?st.", False),
        ("[t]est.", False),
        ("", False),
    ],
)
def test_a_star_stands_for_any_text(pattern: str, fits: bool) -> None:
    assert AGREED.question.purpose == "Test."
    assert broken(rules(purposes=[pattern])) == ([] if fits else ["purposes"])


def test_a_fresh_file_allows_nothing(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(rules_text(AGREED), encoding="utf-8")
    assert tomllib.loads(rules_text(AGREED)) == {}
    with pytest.raises(ProtocolError, match="so nothing is allowed") as error:
        read_rules(path)
    for rule in OPEN:
        assert rule in error.value.message, f"{rule} is not named"


@pytest.mark.parametrize("purpose", ["Test.", 'Say "ill" [pilot?] \\ ärztlich', "Find * early"])
def test_a_fresh_file_says_what_the_study_needs(tmp_path: Path, purpose: str) -> None:
    """With the comment marks gone from the rules, it allows exactly this study."""
    agreed = protocol(privacy={"counts": True}, question={"purpose": purpose})
    lines = [line.removeprefix("# ") for line in rules_text(agreed).splitlines() if line.removeprefix("# ").split(" ")[0] in OPEN]
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    made = read_rules(path)
    assert list(made.complaints(agreed, "table", 20)) == []
    assert [rule for rule, _ in made.complaints(agreed, "table", 19)] == ["min_patients"]
    assert made.rounds == max(algorithm.leaves()[0] for algorithm in agreed.algorithms)
    assert made.release == "first-round"


@pytest.mark.parametrize("rule", sorted(OPEN))
def test_a_rule_that_is_missing_allows_nothing(tmp_path: Path, rule: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(f"{name} = {_toml(value)}" for name, value in OPEN.items() if name != rule))
    with pytest.raises(ProtocolError, match=f"{rule}.*nothing is allowed") as error:
        read_rules(path)
    assert not [name for name in OPEN if name != rule and name in error.value.message.removeprefix(str(path))]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ('may_leave = ["patients"]', "may_leave"),
        ('release = "never"', "release"),
        ("min_patients = 0", "min_patients"),
        ("rounds = 0", "rounds"),
        ('hours = "late"', "hours"),
        ("sauce = 1", "sauce"),
    ],
)
def test_a_rule_that_cannot_be_is_named(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("\n".join([*(f"{name} = {_toml(value)}" for name, value in OPEN.items() if name != named), text]))
    with pytest.raises(ProtocolError, match=named):
        read_rules(path)


@pytest.mark.parametrize("data", [b"purposes = [", b"purposes = \xff"])
def test_a_file_that_is_not_toml_allows_nothing(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "policy.toml").write_bytes(data)
    with pytest.raises(ProtocolError, match="is not TOML") as error:
        read_rules(tmp_path / "policy.toml")
    assert "until then nothing leaves" in error.value.remedy


def test_a_file_that_is_not_there_allows_nothing(tmp_path: Path) -> None:
    with pytest.raises(ProtocolError, match="cannot be read"):
        read_rules(tmp_path / "policy.toml")


def _toml(value: object) -> str:
    return str(value).replace("'", '"') if isinstance(value, list) else f'"{value}"' if isinstance(value, str) else str(value)


def test_a_secure_sum_needs_the_rule_that_says_with_whom() -> None:
    ((rule, why),) = rules().complaints(SECURE, "table", 100)
    assert rule == "sites" and 'write sites = ["north 0123' in why and '["*"]' in why
    with pytest.raises(PolicyRefused, match="the site's rule sites forbids it"):
        rules().permit(SECURE, (SUM,), "table", 100, NOON)
    for allowed in (["*"], [NORTHS]):
        assert list(rules(sites=allowed).complaints(SECURE, "table", 100)) == []
    assert list(rules().complaints(AGREED, "table", 100)) == [], "a plain study does not need it"


def test_sums_in_groups_need_nothing_else_than_other_secure_sums() -> None:
    grouped = protocol(rounds={"quorum": 9, "combine": "bucketed"}, bounds={"sites": 15})
    assert [rule for rule, _ in rules().complaints(grouped, "table", 100)] == ["sites"]
    assert list(rules(sites=["*"]).complaints(grouped, "table", 100)) == []


@pytest.mark.parametrize("written", [NORTHS, NORTHS.upper().replace("NORTH", "north"), "north " + NORTHS[6:].replace(" ", "")])
def test_a_site_is_accepted_by_name_and_key_together(written: str) -> None:
    made = rules(sites=["south " + NORTHS[6:].replace("a", "b"), written])
    assert made.accepts("north", NORTH)
    assert not made.accepts("north", "cd" * 32) and not made.accepts("south", NORTH) and not made.accepts("nort", NORTH)
    assert rules(sites=["*"]).accepts("anybody", "cd" * 32) and not rules().accepts("north", NORTH)


@pytest.mark.parametrize(
    "sites", [["NAME FINGERPRINT"], ["north"], [NORTHS[6:]], [NORTHS + " 0000"], [NORTHS[:-1]], [NORTHS, "*"], ["n*"], [""], ["1" + NORTHS]]
)
def test_a_site_that_is_not_written_as_name_and_fingerprint_is_named(tmp_path: Path, sites: list[str]) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("\n".join(f"{name} = {_toml(value)}" for name, value in {**OPEN, "sites": sites}.items()))
    with pytest.raises(ProtocolError, match=r"sites: .*write"):
        read_rules(path)


def test_a_fresh_file_says_with_whom_only_where_it_matters() -> None:
    assert "# sites = " in rules_text(SECURE) and "by telephone" in rules_text(SECURE) and tomllib.loads(rules_text(SECURE)) == {}
    assert "sites = " not in rules_text(AGREED)
