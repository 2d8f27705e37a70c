"""Make variants of a study: the same plan with some keys changed, as a researcher compares methods.

Changes are nested like the study's tables; phases are named. What is not named stays as it is.

    {"phases": {"train": {"kind": "fedprox", "mu": 0.01}}}          another method, with an option of its own
    {"rounds": {"combine": "trimmed_mean"}}                         another way to add up
    {"phases": {"local": None}}                                     without this phase; None takes any key out
    {"phases": {"tune": {"kind": "finetune", "after": "train"}}}    a further phase
    {"evaluation": {"tune": {"learning_rate": [0.01, 0.1]}}}        another grid
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from wardround.study.errors import ProtocolError
from wardround.study.findings import FileRefused, Finding, findings_of, nearest
from wardround.study.plugins import complete, find
from wardround.study.protocol import Protocol

Tables = dict[str, Any]

_WRITTEN_BY_US = ("initial", "rehearsal", "unregistered")


def tables_of(protocol: Protocol) -> Tables:
    """Return a protocol's tables as one would write them: options of plugins beside their kind, defaults of theirs left out.

    So another kind of phase does not inherit options that it does not have, and that nobody chose.
    """
    found: Tables = {key: value for key, value in protocol.model_dump(mode="json").items() if key not in _WRITTEN_BY_US}
    for key in ("question", "model", *(("codec",) if "codec" in found else ())):
        found[key] = _plain(key, found[key])
    found["phases"] = [_plain("algorithm", phase) for phase in found["phases"]]
    return found


def _plain(group: str, table: Tables) -> Tables:
    own = {key: value for key, value in table.items() if key != "options"}
    try:
        usual = complete(group, table["kind"], {}, group)
    except ProtocolError:  # an option without a default
        usual = {}
    return {**own, **{key: value for key, value in table["options"].items() if key not in usual or usual[key] != value}}


def variant(tables: Mapping[str, Any], changes: Mapping[str, Any], name: str, lean: bool = False) -> Protocol:
    """Return the complete protocol of a study's tables with changes.

    Args:
        tables: from `tables_of`.
        changes: nested like the tables.
        name: of the variant, for the message.
        lean: whether to leave out what another run trains already (`without_comparators`).

    Raises:
        ProtocolError: a key, an option or a plugin does not exist, or sections contradict each other; every finding is listed.
    """
    try:
        return Protocol.model_validate(merged(tables, without_comparators(tables, changes) if lean else changes)).complete()
    except ValidationError as error:
        raise FileRefused(name, list(_told(error))) from None
    except FileRefused as error:
        raise FileRefused(name, error.findings) from None
    except ProtocolError as error:
        raise FileRefused(name, [Finding.of(error)]) from None


def _told(error: ValidationError) -> Iterator[Finding]:
    """Yield what is wrong, with the keys that are known beside a strange one at the top; deeper ones are named by the message."""
    for one, finding in zip(error.errors(include_url=False), findings_of(error, "", list(Protocol.model_fields)), strict=True):
        deep = one["type"] == "extra_forbidden" and len(one["loc"]) > 1
        yield Finding(finding.key, finding.wrong, "Correct the key's name." if deep else finding.remedy)


def merged(tables: Mapping[str, Any], changes: Mapping[str, Any], at: str = "") -> Tables:
    """Return tables with changes merged in, table by table; neither argument is changed.

    Args:
        tables: of a study, or one of them.
        changes: None takes a key out; a table is merged into the table; anything else takes the place of what was there.
        at: dotted key of the table, for the message.

    Raises:
        ProtocolError: what is to be taken out or named is not there.
    """
    found = dict(tables)
    for key, value in changes.items():
        where = f"{at}.{key}" if at else key
        before = found.get(key)
        if value is None:
            if key not in found:
                raise ProtocolError(f"{where}: there is nothing to take out.", nearest(key, found))
            del found[key]
        elif key == "phases" and not at and isinstance(value, Mapping):
            found[key] = _phases(tables[key], value)
        elif isinstance(value, Mapping) and isinstance(before, Mapping) and not (where == "codec" and _another(before, value)):
            found[key] = merged(before, value, where)
        else:
            found[key] = value
    return found


def _another(before: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
    """Return whether a change names another kind; codecs of two kinds share no option that means the same."""
    return "kind" in change and change["kind"] != before.get("kind")


def _phases(before: list[Tables], changes: Mapping[str, Any]) -> list[Tables]:
    phases = list(before)
    for name, change in changes.items():
        names = [phase["name"] for phase in phases]
        where = f"phases.{name}"
        if name in names:
            place = names.index(name)
            phases[place : place + 1] = [] if change is None else [merged(phases[place], change, where)]
        elif change is None or "kind" not in change or "after" not in change:
            known = nearest(name, names)
            raise ProtocolError(f"{where}: the study has no such phase.", f"{known} A further one needs kind, and after: a phase's name.")
        elif change["after"] not in names:
            raise ProtocolError(f"{where}.after: the study has no such phase.", nearest(str(change["after"]), names))
        else:
            own = {key: value for key, value in change.items() if key != "after"}
            phases.insert(names.index(change["after"]) + 1, {"name": name, **own})
    return phases


def without_comparators(tables: Mapping[str, Any], changes: Mapping[str, Any]) -> Tables:
    """Return changes that also leave out what another run trains already: sites' own models, and all that a simulation compares with.

    A change that names them has its way; the sites' own models stay where a later phase could need them.

    Args:
        tables: of the study.
        changes: of one method.
    """
    found = dict(changes)
    if "compare" not in changes.get("evaluation", {}):
        found["evaluation"] = {**changes.get("evaluation", {}), "compare": []}
    phases = changes.get("phases", {})
    planned = merged(tables, changes)["phases"]
    gives = {phase["name"]: find("algorithm", phase["kind"], f"phases.{phase['name']}.kind").gives for phase in planned}
    own = [name for name, what in gives.items() if what == "own model"]
    if isinstance(phases, Mapping) and set(gives.values()) <= {"", "norm", "model", "own model", "judgement"}:
        found["phases"] = {**phases, **{name: None for name in own if name not in phases}}
    return found
