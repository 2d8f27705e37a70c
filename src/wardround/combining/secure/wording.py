"""Read what is said in a secure sum, and refuse whatever is not exactly what it must be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, TypeVar

from wardround.combining.secure.keys import KEY_BYTES
from wardround.combining.secure.shamir import SHARE_BYTES
from wardround.study.canonical import canonical
from wardround.study.errors import VerificationError
from wardround.study.task import Refusal

SIGNED = "application/vnd.wardround.secure-sum+json"
"""Stands in whatever a site signs for other sites, so that the signature means nothing anywhere else."""

T = TypeVar("T")
_BEGINS = "secure sum, "
_REMEDY = "This attempt is over for this site. If it happens again, have the study's record verified: somebody broke the protocol."
_FALSE_SHARES = re.compile(f"{_BEGINS}answer: (?:the shares|a share) of site ([A-Za-z][A-Za-z0-9_.-]{{0,63}}) (?:are not|is larger) ")


class Broken(VerificationError):
    """A step of the secure sum is not what it must be; nothing more is said in this attempt."""

    @classmethod
    def at(cls, stage: str, reason: str, remedy: str = _REMEDY) -> Broken:
        """Return the error that names the step."""
        return cls(f"{_BEGINS}{stage}: {reason}", remedy)


def finds_fault(refusal: Refusal) -> bool:
    """Say whether a refusal says that somebody broke the sum, be it the site or the coordinator that found so.

    What a hospital's own rules forbid, such as its hours, is an absence, and so is what does not come in time. The class of an error does
    not travel, only its words.
    """
    return refusal.where == "admit" or refusal.reason.startswith(_BEGINS)


def accused(refusal: Refusal) -> str:
    """Return the name of the site whose shares another one found false; nothing where a refusal says something else."""
    found = _FALSE_SHARES.match(refusal.reason)
    return "" if found is None else found[1]


def read(stage: str, data: bytes, *keys: str, take: str = "") -> Any:
    """Return one value of a JSON object that has exactly these keys; the first, or the one that `take` names.

    Raises:
        Broken: it is not that, or not canonical.
    """
    try:
        found = json.loads(data)
        if not isinstance(found, dict) or set(found) != set(keys) or canonical(found) != data:
            raise ValueError
    except (ValueError, RecursionError):
        raise Broken.at(stage, "what was said is not well formed") from None
    return found[take or keys[0]]


def items(stage: str, value: Any, kind: type[T]) -> T:
    """Return a value that must be a list, or an object.

    Raises:
        Broken: it is not.
    """
    if not isinstance(value, kind):
        raise Broken.at(stage, "what was said is not well formed")
    return value


def exactly(stage: str, value: Any, **shapes: Callable[[str], object]) -> dict[str, str]:
    """Return an object that must have exactly these texts, each of its shape.

    Raises:
        Broken: it has not.
    """
    if not isinstance(value, dict) or set(value) != set(shapes):
        raise Broken.at(stage, "what was said is not well formed")
    if not all(isinstance(value[name], str) and fits(value[name]) for name, fits in shapes.items()):
        raise Broken.at(stage, "what was said is not well formed")
    return value


def name_at(stage: str, value: Any) -> str:
    """Return a value that must be a site's name.

    Raises:
        Broken: it is not.
    """
    if not isinstance(value, str) or not NAME(value):
        raise Broken.at(stage, "what was said is not well formed")
    return value


NAME = re.compile("[A-Za-z][A-Za-z0-9_.-]{0,63}").fullmatch
HEX32 = re.compile(f"[0-9a-f]{{{2 * KEY_BYTES}}}").fullmatch
HEX64 = re.compile("[0-9a-f]{128}").fullmatch
SHARE = re.compile(f"[0-9a-f]{{{2 * SHARE_BYTES}}}").fullmatch
