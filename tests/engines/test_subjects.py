"""Subjects keep studies and sites apart, and a site's list holds its own places only."""

from __future__ import annotations

import re
import string
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardround.engines.subjects import PARTS, REPLIES, TASKS, Subjects, inbox, slot_name

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_.-]{0,20}", fullmatch=True)
MINE, OTHERS = "slot001", "slot002"


def every(subjects: Subjects, slot: str) -> list[str]:
    """Return a true subject of each kind."""
    one = [subjects.task(slot), subjects.reply(slot), subjects.beat(slot), subjects.join(slot)]
    return [*one, f"{subjects.parts}.group.part", f"{subjects.uploads(slot)}.group.part"]


def covers(pattern: str, subject: str) -> bool:
    """Say whether a NATS pattern covers a subject: a star is one token, a final arrow one or more."""
    wanted, found = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        return len(found) >= len(wanted) and all(fnmatchcase(have, want) for want, have in zip(wanted[:-1], found, strict=False))
    return len(wanted) == len(found) and all(want in ("*", have) for want, have in zip(wanted, found, strict=True))


@given(NAMES)
def test_a_study_is_one_token_without_wildcards(study: str) -> None:
    tokens = Subjects(study).root.split(".")
    assert len(tokens) == 2 and tokens[0] == "wr"
    assert set(tokens[1]) <= set(string.ascii_letters + string.digits + "_-~")


@given(NAMES, NAMES)
def test_two_studies_share_no_subject(one: str, other: str) -> None:
    if one != other:
        assert not set(every(Subjects(one), MINE)) & set(every(Subjects(other), MINE))


def test_no_two_kinds_of_subject_are_the_same_or_cover_each_other() -> None:
    subjects = Subjects("small")
    found = [*every(subjects, MINE), *every(subjects, OTHERS)[:4]]
    assert len(set(found)) == len(found)
    for pattern in (subjects.task("*"), subjects.reply("*"), subjects.beat("*"), subjects.join("*"), f"{subjects.parts}.>"):
        assert 1 <= len({re.sub("slot00.", "slot", one) for one in found if covers(pattern, one)}) <= 1


@given(NAMES)
def test_a_site_may_publish_in_its_own_places_only(study: str) -> None:
    subjects = Subjects(study)
    allowed = subjects.site_may_publish(MINE)
    may = {one for one in every(subjects, MINE) if any(covers(pattern, one) for pattern in allowed)}
    assert may == {subjects.reply(MINE), subjects.beat(MINE), subjects.join(MINE), f"{subjects.uploads(MINE)}.group.part"}
    for other in (*every(subjects, OTHERS), *every(Subjects(f"{study}x"), MINE)):
        assert not [pattern for pattern in allowed if covers(pattern, other)]
    for foreign in (OTHERS, "coordinator"):
        asks = [f"$JS.API.CONSUMER.MSG.NEXT.{TASKS}.{foreign}", f"$JS.ACK.{TASKS}.{foreign}.1.1.1.1.1"]
        assert not [pattern for pattern in allowed for ask in asks if covers(pattern, ask)]


@pytest.mark.parametrize(
    "ask",
    [
        f"$JS.API.STREAM.INFO.{TASKS}",
        f"$JS.API.STREAM.MSG.GET.{REPLIES}",
        f"$JS.API.STREAM.PURGE.{PARTS}",
        f"$JS.API.CONSUMER.MSG.NEXT.{REPLIES}.coordinator",
        f"$JS.API.DIRECT.GET.{REPLIES}.wr.small.reply.{MINE}",
        f"$JS.API.DIRECT.GET.{PARTS}",
        f"$JS.API.DIRECT.GET.{PARTS}.wr.other.part.x.y",
        f"$JS.API.DIRECT.GET.{TASKS}.wr.small.task.{OTHERS}",
        "$SYS.REQ.SERVER.PING",
        "_INBOX.slot002.x",
        "wr.small.part.x.y",
        "wr.small.task.slot001",
    ],
)
def test_nothing_else_is_on_a_site_s_list(ask: str) -> None:
    assert not [pattern for pattern in Subjects("small").site_may_publish(MINE) if covers(pattern, ask)]


def test_what_a_site_takes_is_what_the_hub_offers() -> None:
    subjects = Subjects("small")
    exports = [pattern for pattern, _ in subjects.exports()]
    for service in subjects.site_may_publish(MINE):
        assert [export for export in exports if covers(export, service)], f"{service} is imported by a site and exported by nobody"


def test_names_of_slots_and_inboxes_are_unlike() -> None:
    names = [slot_name(number) for number in range(1, 1000)]
    assert len(set(names)) == 999 and sorted(names) == names
    assert len({inbox(name) for name in names} | {inbox("coordinator"), inbox("admin")}) == 1001
    assert len({Subjects.uploads_stream(name) for name in names} | {TASKS, PARTS, REPLIES}) == 1002
