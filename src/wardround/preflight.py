"""Make of a study's plan the plan of its preflight, and find one's own hospital in what came of it.

A preflight is a study of its own: signed, approved, recorded and verified like any other, so that hospitals can agree to it before they
agree to train anything. It has the contract, the parties and the bounds of the study; nothing is refused for what it holds, since that is
what is looked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from wardround.learning.preflight.algorithm import Preflight
from wardround.learning.preflight.layout import Shape
from wardround.learning.preflight.seen import seen
from wardround.learning.preflight.unnamed import whose
from wardround.learning.preflight.verdicts import Compared
from wardround.study.arrays import Arrays
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol
from wardround.study.protocol.contract import Field
from wardround.study.protocol.load import read_protocol

PHASE = "preflight"
LONGEST = 64
"""Letters of a study's name."""


def is_preflight(protocol: Protocol) -> bool:
    """Say whether a plan is that of a preflight."""
    return any(isinstance(one, Preflight) for one in protocol.algorithms)


def plan_text(protocol: Protocol, site_results: str = "blinded", sites: int | None = None) -> str:
    """Return the `study.toml` of a study's preflight.

    Args:
        protocol: of the study.
        site_results: "blinded": the result shows hospitals without names, and each finds itself; "open": with names.
        sites: how many take part, where it is known; else the study's own bounds and quorum hold.

    Raises:
        ProtocolError: the study's input is an image, of which a preflight has nothing to compare.
    """
    if protocol.contract.image is not None:
        wrong = f"A preflight compares columns of tables, and the input of {protocol.study} is an image."
        raise ProtocolError(wrong, "Have each hospital run wardround site check; a phase of kind 'intensities' compares scanners in sum.")
    contract, parties, bounds = protocol.contract, protocol.parties, protocol.bounds
    name = f"{protocol.study[: LONGEST - len(PHASE) - 1]}-{PHASE}"
    expires = [] if parties.expires is None else [f"expires = {parties.expires.isoformat()}"]
    purpose = f"Compare how hospitals write their fields before the study {protocol.study} begins; nothing is trained."
    special = [
        f"{key} = {_text(value or '')}"
        for key, value in (("patient", contract.patient), ("time", contract.time))
        if value or key == "patient"
    ]
    lines = [
        f"# The preflight of the study {protocol.study}: it trains nothing. Read it before you agree: wardround study check THIS FILE",
        'kind = "statistics"',
        f"study = {_text(name)}",
        "\n[question]",
        f"title = {_text(f'Do the hospitals mean the same? {protocol.question.title}'[:200])}",
        f"purpose = {_text(purpose)}",
        "\n[parties]",
        *(f"{key} = {_text(getattr(parties, key))}" for key in ("coordinator", "legal_basis", "ethics", "retention")),
        *expires,
        "\n[contract]",
        *special,
        "\n[contract.fields]",
        *(f"{_text(one)} = {_field(field)}" for one, field in contract.fields.items()),
        "\n[[phases]]",
        f"name = {_text(PHASE)}",
        f"kind = {_text(PHASE)}",
        f"label = {_text(contract.label)}",
        "\n[bounds]",
        f"sites = {sites or bounds.sites}",
        f"examples = {bounds.examples}",
        "\n[rounds]",
        f"quorum = {min(max(protocol.rounds.quorum, 2), sites or bounds.sites)}",
        f"due_seconds = {protocol.rounds.due_seconds:g}",
        'combine = "append"                   # hospitals are compared, so their answers stay apart',
        "\n[privacy]",
        "counts = true",
        f"smallest_count = {protocol.privacy.smallest_count}",
        "\n[evaluation]",
        f"site_results = {_text(site_results)}",
    ]
    return "\n".join(lines) + "\n"


def _text(value: str) -> str:
    """Return a text as TOML writes it, which for these is as JSON does."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _field(field: Field) -> str:
    codes = f"codes = [{', '.join(_text(code) for code in field.codes)}]" if field.codes else ""
    number = f"unit = {_text(field.unit or '1')}, range = [{field.range[0]!r}, {field.range[1]!r}]" if field.range else ""
    about = f", description = {_text(field.description)}" if field.description else ""
    return f'{{ type = "{field.type}", {codes or number}, outside = "keep"{about} }}'


def plan_of(protocol: Protocol, sites: int | None = None) -> Protocol:
    """Return the plan of a study's preflight, or the plan itself where it is one; see `plan_text`."""
    if is_preflight(protocol):
        return protocol
    return read_protocol(plan_text(protocol, "blinded", sites), f"the preflight of {protocol.study}")


def table_of(result: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return what a preflight came to, from `result.json`; None where the study is none."""
    found: list[Mapping[str, Any]] = [one for one in (result.get("statistics") or {}).values() if one.get("kind") == PHASE]
    return found[0] if found else None


def unsized(protocol: Protocol, sites: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what a result tells of each site; in a preflight without names nothing, since a size beside a name would tell the letter."""
    hidden = is_preflight(protocol) and protocol.evaluation.site_results != "open"
    return {site: dict.fromkeys(one) if hidden else dict(one) for site, one in sites.items()}


def own(protocol: Protocol, result: Mapping[str, Any], site: str, kept: Arrays) -> dict[str, Any]:
    """Return what a hospital's own copy of a result has in place of the released one: itself under its own name.

    Args:
        protocol: of the preflight.
        result: as it was released.
        site: of the hospital.
        kept: what it told.
    """
    algorithm = next(one for one in protocol.algorithms if isinstance(one, Preflight))
    told = result["statistics"][algorithm.phase]
    if not told.get("unnamed"):
        return {}
    alone = Compared(protocol, algorithm.options.label, [seen(Shape.of(protocol), site, kept)]).told()
    letter = whose(told, alone)
    if letter is None:
        return {}
    shown = {letter: site}
    fields = [{**one, "sites": {shown.get(name, name): each for name, each in one["sites"].items()}} for one in told["fields"]]
    hospitals = {shown.get(name, name): each for name, each in told["hospitals"].items()}
    hospitals[site] = {**hospitals[site], "card": alone["hospitals"][site]["card"]}
    return {"statistics": {**result["statistics"], algorithm.phase: {**told, "fields": fields, "hospitals": hospitals}}}
