"""Fill in what a study of statistics leaves out, and refuse what it has no use for.

Such a study (`kind = "statistics"`) trains nothing. So that it is a protocol like any other, with one digest, it gets the question that
learns nothing, the model that is none, and an evaluation without metrics; whoever writes it writes none of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from wardround.study.findings import Finding
from wardround.study.protocol.contract import Contract
from wardround.study.protocol.sections import SMALLEST_COUNT, Privacy

NOTHING = "nothing"
"""Name of the question that learns nothing, of its only metric, and of the model that is none."""

_FILLED: Mapping[str, Mapping[str, Any]] = {
    "question": {"kind": NOTHING},
    "model": {"kind": NOTHING, "normalise": "none"},
    "evaluation": {"metrics": [NOTHING], "replicates": 0, "compare": []},
}


def filled_in(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of a study of statistics with what such a study leaves out; what is there stays as it is."""
    found = dict(data)
    for key, table in _FILLED.items():
        if isinstance(found.get(key, {}), dict):
            found[key] = {**table, **found.get(key, {})}
    contract = found.get("contract")
    if isinstance(contract, dict) and isinstance(contract.get("fields"), dict):
        fields = {name: _counted(one) for name, one in contract["fields"].items()}
        found["contract"] = {**contract, "fields": fields}
    return found


def _counted(field: Any) -> Any:
    """Return a field whose missing values are counted where nothing else is said; an image has none, and no model sees it."""
    if not isinstance(field, dict):
        return field
    return {"input": False, **field} if field.get("type") == "image" else {"missing": "count", **field}


def not_written(data: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield a finding for each table of a study of statistics that only a study with a model has."""
    if data.get("kind") != "statistics":
        return
    for key in ("model", "evaluation", "stop"):
        told = isinstance(data.get(key), dict) and set(data[key]) <= {"site_results"}  # which a preflight needs
        if key in data and not (key == "evaluation" and told):
            yield Finding(key, "a study of statistics trains and judges no model.", "Leave this table out.")
    for key in ("label", "labels"):
        if isinstance(data.get("contract"), dict) and key in data["contract"]:
            yield Finding(
                f"contract.{key}", "a study of statistics predicts nothing.", "Leave it out; the field may stay among the fields."
            )


def unfit(kind: str, contract: Contract, privacy: Privacy) -> None:
    """Refuse sections that do not fit the kind of study.

    Raises:
        ValueError: names the key.
    """
    _images(kind, contract)
    if kind == "statistics":
        return
    if not contract.targets:
        raise ValueError("contract.label: is missing; add it")
    if kind == "evaluation":
        return
    for name, field in contract.fields.items():
        if field.outside == "keep":
            raise ValueError(f"contract.fields.{name}.outside: 'keep' is for a preflight; use refuse or missing")
        if field.missing == "count":
            raise ValueError(f"contract.fields.{name}.missing: 'count' is for a study that trains nothing; use mean, indicator or refuse")
    if privacy.smallest_count != SMALLEST_COUNT:
        raise ValueError("privacy.smallest_count: is for a study that trains nothing; leave it out")


def _images(kind: str, contract: Contract) -> None:
    """Refuse images that nothing would look at.

    Raises:
        ValueError: names the key.
    """
    for name, field in contract.fields.items():
        if field.type != "image" or kind == "statistics":  # `pixels` looks at images; other statistics pass over them
            continue
        if kind == "evaluation":
            raise ValueError(f"contract.fields.{name}: is an image, and a finished model is tested on columns of tables only; leave it out")
        if name != contract.image:
            raise ValueError(f"contract.fields.{name}: is an image that the model does not see, so nobody should read it; leave it out")
