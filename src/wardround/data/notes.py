"""Note beside a snapshot's values what a preflight compares: what could not be read, how codes were mapped, the label card.

In a preflight the contract's fields say `outside = "keep"`: nothing is refused for what it holds. What would have been an error in another
study becomes a warning here, and the rows that it concerns are marked. All of it goes into the snapshot as arrays, since the worker sees
nothing else; texts of the label card as the numbers of their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from wardround.data.cells import Cells
from wardround.data.fields import without_values
from wardround.data.label_card import LabelCard
from wardround.data.site_file import SiteFile
from wardround.study.arrays import Arrays
from wardround.study.protocol import Contract, Field

LENGTHS: Mapping[str, int] = {"source": 80, "coding": 40, "version": 20}
"""Texts of a label card, and the most bytes that each may have."""


def keeps(field: Field) -> bool:
    """Say whether a field takes whatever a hospital has, to be looked at."""
    return field.outside == "keep"


def completed(contract: Contract, cells: Mapping[str, Cells], rows: int) -> dict[str, Cells]:
    """Return the cells with those fields of a preflight that could not be read at all: no value, every row marked."""
    found = dict(cells)
    for name, field in contract.fields.items():
        if keeps(field) and name not in found:
            found[name] = Cells(without_values(field, rows).values, np.ones(rows, dtype=bool))
    return found


def noted(contract: Contract, site: SiteFile, cells: Mapping[str, Cells]) -> Arrays:
    """Return the notes of a preflight; nothing in any other study.

    `unreadable/FIELD` int8 [N]: which cells hold something that is no value. `mapped/FIELD` float64 [C]: how many local codes become each
    of the contract's. `card/TEXT` uint8 [...]: texts of the label card, and `card/figures` float64 [2]: agreement (NaN for none), readers.
    """
    kept = {name: field for name, field in contract.fields.items() if keeps(field)}
    if not kept:
        return {}
    notes: dict[str, np.ndarray] = {f"unreadable/{name}": cells[name].unreadable.astype(np.int8) for name in kept}
    for name, field in kept.items():
        if field.codes is not None:
            entry = site.map.get(name)
            leads = list((entry.codes if entry and entry.codes is not None else {code: code for code in field.codes}).values())
            notes[f"mapped/{name}"] = np.array([leads.count(code) for code in field.codes], dtype=np.float64)
    return {**notes, **_card(site.label_card)}


def _card(card: LabelCard | None) -> dict[str, np.ndarray]:
    if card is None:
        return {}
    texts = {f"card/{name}": _bytes(str(getattr(card, name)), length) for name, length in LENGTHS.items()}
    agreement = np.nan if card.agreement is None else card.agreement
    return {**texts, "card/figures": np.array([agreement, float(card.readers)])}


def _bytes(text: str, length: int) -> np.ndarray:
    """Return a text as uint8 [length], cut after a whole letter and filled with zeros."""
    cut = text.encode()[:length].decode(errors="ignore").encode()
    return np.frombuffer(cut.ljust(length, b"\0"), dtype=np.uint8).copy()


def text_of(numbers: np.ndarray) -> str:
    """Return the text in such numbers, without anything that is no printable letter; they may come from another hospital.

    Example:
        >>> text_of(np.array([73, 67, 68, 0, 0]))
        'ICD'
    """
    raw = bytes(int(one) for one in np.clip(np.nan_to_num(numbers), 0, 255)).rstrip(b"\0")
    return "".join(letter for letter in raw.decode(errors="ignore") if letter.isprintable())
