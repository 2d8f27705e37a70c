"""Say what an entry of the record may hold: one table, read when an entry is appended and again when it is verified.

Each site keeps an *egress log* (what left, what was refused, what was approved and adopted); the coordinator keeps the *study log*
(what was agreed, asked, received, closed and released). An entry is one canonical JSON object of at most 4096 bytes. Every one has
`v` (version of its schema), `t` (type), `study`, `seq` (its index in its log) and `ts` (UTC, to the second), then exactly the
fields that `SCHEMAS` lists. Whatever is long stays outside and is named by digest; whatever could be guessed is a salted
commitment; counts of patients are bands. There are integers and texts, no floats: two programs write a float differently.

A new type of entry is one more line in `SCHEMAS`; a changed one gets the next version and the old line stays, so that old records
keep verifying.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from wardround.study.errors import WardroundError

Entry = Mapping[str, Any]
Book = Literal["site", "study"]

VERSION = 1
MOST_BYTES = 4096
MOST_INTEGER = 2**53 - 1

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "sums": "additive sums over a site's patients",
        "masked_sums": "additive sums, hidden by masks until all are added",
        "update": "one site's update by itself, for a robust rule",
        "key_share": "keys and shares of keys for the secure sum",
        "results": "a site's own test figures: metrics with intervals over its test patients",
        "ack": "an acknowledgement without content",
    }
)
"""Kinds of messages that may leave a site. None is record-level: none lists patients; a bin over very few can still show one."""

PLACES = ("accept", "answer", "release", "admit", "deadline")
"""Where a site's part of a round can end: the first three at the site, the other two at the coordinator."""

PLACES_AT_SITE = PLACES[:3]

WHYS = ("approval", "withdrawal", "rolling")
"""Why a site brings a snapshot: one is approved; patients withdrew and nothing else changed; the plan lets newer rows in."""

_TIME = r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z"
_REMEDY = "Look the type up in wardround.record.entries; a record that holds such an entry was not written by wardround or was altered."


@dataclass(frozen=True)
class Shape:
    """Describe one value: in words, and as a test."""

    says: str
    fits: Callable[[Any], bool]


@dataclass(frozen=True)
class Schema:
    """Describe one type of entry: which log it belongs to, and the shape of each field beside the common ones."""

    book: Book
    fields: Mapping[str, Shape]


def band(n: int) -> str:
    """Return the band that a count of patients or examples is written as: small counts are hidden, large ones rounded.

    Args:
        n: the count, 0 or more.

    Raises:
        ValueError: the count is negative.

    Example:
        >>> [band(n) for n in (0, 9, 10, 50, 199, 1999, 70_000)]
        ['<10', '<10', '10-49', '50-99', '100-199', '1000-1999', '50000-99999']
    """
    if n < 0:
        raise ValueError(f"a count cannot be {n}")
    if n < 10:
        return "<10"
    if n < 50:
        return "10-49"
    ten = 10 ** (len(str(n)) - 1)
    low, high = next((low, high) for low, high in ((5, 10), (2, 5), (1, 2)) if n >= low * ten)
    return f"{low * ten}-{high * ten - 1}"


def plain(text: str, most: int = 400) -> str:
    """Return text as an entry may hold it: one printable line of at most `most` characters.

    For reasons that come from elsewhere, such as a site's refusal: what cannot be printed becomes a space, what is too long ends in dots.
    """
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def _matches(pattern: str) -> Callable[[Any], bool]:
    fullmatch = re.compile(pattern).fullmatch
    return lambda value: type(value) is str and fullmatch(value) is not None


def _text(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is str and least <= len(value) <= most and value.isprintable()


def _whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MOST_INTEGER


def _is_band(value: Any) -> bool:
    if type(value) is not str or re.fullmatch(r"<10|[1-9][0-9]{1,15}-[1-9][0-9]{1,15}", value) is None:
        return False
    return value == band(0 if value == "<10" else int(value.partition("-")[0]))


def _one_of(words: tuple[str, ...]) -> Shape:
    return Shape(f"one of {', '.join(words)}", lambda value: type(value) is str and value in words)


def _list_of(shape: Shape) -> Shape:
    return Shape(f"a list, each {shape.says}", lambda value: isinstance(value, list) and all(shape.fits(one) for one in value))


def _map_to(shape: Shape) -> Shape:
    return Shape(
        f"an object of names, each with {shape.says}",
        lambda value: (
            isinstance(value, dict) and all(NAME.fits(name) and name.isascii() and shape.fits(one) for name, one in value.items())
        ),
    )


def _exactly(**fields: Shape) -> Shape:
    return Shape(
        f"an object with exactly {', '.join(fields)}",
        lambda value: (
            isinstance(value, dict) and value.keys() == fields.keys() and all(shape.fits(value[name]) for name, shape in fields.items())
        ),
    )


WHOLE = Shape("a whole number from 0 to 2^53 - 1", _whole)
TEXT = Shape("one printable line of at most 1000 characters", _text(0, 1000))
NAME = Shape("a printable name of 1 to 200 characters", _text(1, 200))
SITE = Shape("a site's name: a letter, then letters, digits, '_', '.', '-', at most 64", _matches(r"[A-Za-z][A-Za-z0-9_.-]{0,63}"))
WORD = Shape("one word of small letters, digits, '_' and '-'", _matches(r"[a-z][a-z0-9_-]{0,63}"))
TIME = Shape("a UTC time YYYY-MM-DDTHH:MM:SSZ", _matches(_TIME))
DIGEST = Shape("a digest sha256:<64 hex digits>", _matches(r"sha256:[0-9a-f]{64}"))
HASH = Shape("a hash of 64 hex digits", _matches(r"[0-9a-f]{64}"))
BAND = Shape("a band such as <10 or 100-199", _is_band)
PLACE = _one_of(PLACES)
PLACE_AT_SITE = _one_of(PLACES_AT_SITE)
KIND = _one_of(tuple(KINDS))
ZERO = Shape("0", lambda value: type(value) is int and value == 0)
HEAD = Shape(
    "a head [size, root]", lambda value: isinstance(value, (list, tuple)) and len(value) == 2 and _whole(value[0]) and HASH.fits(value[1])
)
ENVELOPE = _exactly(payload=Shape("base64", _text(1, 3000)), payloadType=NAME, signatures=_list_of(_exactly(keyid=NAME, sig=NAME)))
BOUNDS = _exactly(bits=_list_of(WHOLE), refused_over=TEXT)
PRIVACY = Shape(
    "an object with a text 'mode' and else texts and whole numbers",
    lambda value: (
        isinstance(value, dict)
        and TEXT.fits(value.get("mode"))
        and all(WORD.fits(name) and (WHOLE.fits(one) or TEXT.fits(one)) for name, one in value.items())
    ),
)

_COMMON = {"v": WHOLE, "t": WORD, "study": NAME, "seq": WHOLE, "ts": TIME}
_TURN = {"phase": NAME, "round": WHOLE, "attempt": WHOLE}
_MESSAGE = {"stage": WORD, "kind": KIND, "task": DIGEST, "layout": DIGEST, "commit": DIGEST, "bytes": WHOLE}
_SNAPSHOT = {"snapshot": DIGEST, "source": NAME, "rows": BAND, "patients": BAND, "withdrew": BAND, "changed": BAND, "why": _one_of(WHYS)}
_EGRESS = {"to": NAME, "ask": DIGEST, "examples": BAND, "bounds": BOUNDS, "privacy": PRIVACY, "study_head": HEAD}


def _site(**fields: Shape) -> Schema:
    return Schema("site", {**_COMMON, "site": SITE, **fields})


def _study(**fields: Shape) -> Schema:
    return Schema("study", {**_COMMON, **fields})


SCHEMAS: Mapping[tuple[int, str], Schema] = MappingProxyType(
    {
        # a site's egress log
        (1, "snapshot"): _site(snapshot=DIGEST, patients=BAND, source=NAME),
        (2, "snapshot"): _site(**_SNAPSHOT),
        (1, "changed"): _site(snapshot=DIGEST, rows=BAND, patients=BAND, decision=_one_of(("stop", "go_on"))),
        (1, "approval"): _site(protocol=DIGEST, role=NAME, envelope=ENVELOPE),
        (1, "egress"): _site(protocol=DIGEST, **_TURN, **_MESSAGE, **_EGRESS),
        (2, "egress"): _site(protocol=DIGEST, data=DIGEST, **_TURN, **_MESSAGE, **_EGRESS),
        (1, "refused"): _site(**_TURN, task=DIGEST, where=PLACE_AT_SITE, reason=TEXT, bytes=ZERO),
        (1, "adopted"): _site(**_TURN, receipt=HASH),
        (1, "declined"): _site(protocol=DIGEST, reason=TEXT),
        (1, "left"): _site(protocol=DIGEST),
        (1, "handed_over"): _site(protocol=DIGEST, to=NAME, head=HEAD),
        (1, "results"): _site(protocol=DIGEST, to=NAME, kind=KIND, commit=DIGEST, bytes=WHOLE),
        # the study log
        (1, "protocol"): _study(protocol=DIGEST, initial=_map_to(DIGEST), unregistered=_list_of(TEXT), coordinator=NAME),
        (1, "join"): _study(site=SITE, vkey=NAME),
        (1, "approval_seen"): _study(site=SITE, protocol=DIGEST, entry=HASH, head=HEAD),
        (1, "round_open"): _study(**_TURN, state=DIGEST, ask=DIGEST, layout=DIGEST, roster=DIGEST, sites=WHOLE, due=WHOLE),
        (1, "ingress"): _study(site=SITE, **_TURN, **_MESSAGE, entry=HASH, index=WHOLE, head=HEAD),
        (1, "late"): _study(site=SITE, **_TURN, commit=DIGEST, bytes=WHOLE, entry=HASH, index=WHOLE),
        (1, "refusal"): _study(site=SITE, **_TURN, where=PLACE, reason=TEXT, remedy=TEXT),
        (1, "round_close"): _study(**_TURN, total=DIGEST, state=DIGEST, receipts=DIGEST, sites=WHOLE, refused=WHOLE),
        (1, "round_short"): _study(**_TURN, sites=WHOLE, quorum=WHOLE),
        (1, "phase_done"): _study(phase=NAME, result=DIGEST, rounds=WHOLE, stopped=WORD),
        (1, "release"): _study(phase=NAME, model=DIGEST, result=DIGEST, report=DIGEST),
        (1, "kept"): _study(site=SITE, envelope=ENVELOPE),
        (1, "unheard"): _study(site=SITE),
        (1, "tables"): _study(result=DIGEST, report=DIGEST),
        (1, "passport"): _study(model=DIGEST, result=DIGEST, passport=DIGEST, page=DIGEST),
        (1, "resumed"): _study(phase=NAME, round=WHOLE),
        (1, "stopped"): _study(reason=TEXT),
    }
)
"""Every type of entry, by version and type.

`receipts` in `round_close` is the digest of the canonical JSON list of the sorted leaf hashes of all messages that were logged in that
attempt, before it closed, of sites without a `refusal` in it. `sites` counts these sites, `refused` those with a refusal; together they are
the sites that were asked. A site writes `handed_over` before it gives a copy of its log away: the copy holds it, and `head` is the log's
before it. `results` is written before a site's own test figures leave. `late` names a message that is in its site's log and came after its
attempt had closed; it was not used. `tables` names what a study without a model released, `passport` what one that tested a finished model
did: the digest of the model's own file, and of `result.json`, `passport.json` and `passport.html`. `kept` names a site whose own rules keep
its log, with its signature under that; `unheard` one of which the coordinator says that it handed none over: it left, was cut off, or was
not there at the end. `data` in `egress` is the `snapshot` of the last entry of that type before it: on these rows the
answer was computed. In a snapshot `withdrew` counts patients that the opt-out list took out, `changed` those whose rows are not as they
were. An entry `changed` says that a hospital found its rows not as it had approved them, in a study with frozen data, and its decision.
"""


def version_of(type: str, fields: Mapping[str, Any]) -> int:
    """Return the newest version of a type's schema that lists just these fields beside the common ones; 1 where none does."""
    fitting = [v for v, t in SCHEMAS if t == type and SCHEMAS[v, t].fields.keys() - _COMMON.keys() == fields.keys()]
    return max(fitting, default=VERSION)


_ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode


def check(entry: object) -> Book:
    """Check an entry against its schema and return which log it belongs to.

    Raises:
        WardroundError: it names the type and field that do not fit, and what would; never the value.
    """
    if not isinstance(entry, dict):
        raise WardroundError("An entry is not a JSON object.", _REMEDY)
    version, name = entry.get("v"), entry.get("t")
    schema = SCHEMAS.get((version, name)) if type(version) is int and type(name) is str else None
    if schema is None:
        raise WardroundError("An entry has a type or version that this release does not know.", _REMEDY)
    for field, shape in schema.fields.items():
        if field not in entry:
            raise WardroundError(f"A {name} entry lacks '{field}'.", _REMEDY)
        if not shape.fits(entry[field]):
            raise WardroundError(f"In a {name} entry '{field}' is not {shape.says}.", _REMEDY)
    if len(entry) != len(schema.fields):
        raise WardroundError(f"A {name} entry has a field that its schema does not list.", _REMEDY)
    return schema.book


def encode(entry: Entry) -> bytes:
    """Return a checked entry as canonical JSON.

    What `check` lets through has ASCII keys and no floats, so sorted compact JSON is RFC 8785; it is the fast twin of `study.canonical`.

    Raises:
        WardroundError: the entry is longer than 4096 bytes.
    """
    data = _ENCODE(entry).encode()
    if len(data) > MOST_BYTES:
        raise WardroundError(
            f"A {entry['t']} entry would have {len(data)} bytes, {MOST_BYTES} are allowed.",
            "Keep long content beside the record and name it by its digest.",
        )
    return data


def decode(data: bytes) -> dict[str, Any]:
    """Return the entry that these bytes are, checked, and only if they are its canonical JSON.

    Raises:
        WardroundError: not JSON, not to the schema, too long, or spelt otherwise than canonical JSON.
    """
    if len(data) > MOST_BYTES:
        raise WardroundError(f"An entry has {len(data)} bytes, {MOST_BYTES} are allowed.", _REMEDY)
    try:
        entry = json.loads(data)
    except (ValueError, RecursionError):
        raise WardroundError("An entry is not JSON.", _REMEDY) from None
    check(entry)
    if encode(entry) != data:
        raise WardroundError("An entry is not written as canonical JSON.", _REMEDY)
    found: dict[str, Any] = entry
    return found
