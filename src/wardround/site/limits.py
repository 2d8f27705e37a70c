"""Read `[statistics]` of a hospital's `policy.toml`: how much may be asked of its patients by studies that only count.

A table of counts is harmless alone; many about the same patients are not. So the hospital says from how many patients on a count may leave,
how many studies and counts there may be in how many days, and where it keeps the ledger in which they are noted.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
from pydantic import Field

from wardround.study.layout import Layout
from wardround.study.protocol import Protocol
from wardround.study.protocol.section import Section
from wardround.study.protocol.sections import SMALLEST_COUNT
from wardround.study.streams import Stream
from wardround.study.task import State


class Limits(Section):
    """Be the table `[statistics]`.

    Attributes:
        ledger: folder in which the hospital notes what studies of these patients were told, relative to `policy.toml`; the same one in all
            its studies of them.
        studies: most studies of statistics that may be answered in `days`.
        counts: most counts, such as cells of tables, that may be asked in `days`, over all studies.
        days: length of the period that ends now.
        smallest_count: the hospital's own k: a study that lets counts of fewer patients leave is refused.
    """

    ledger: Annotated[str, Field(min_length=1)]
    studies: Annotated[int, Field(ge=1)]
    counts: Annotated[int, Field(ge=1)]
    days: Annotated[int, Field(ge=1, le=36_500)] = 365
    smallest_count: Annotated[int, Field(ge=1, le=1000)] = SMALLEST_COUNT


def tells_tables(protocol: Protocol) -> bool:
    """Say whether a study asks for tables of counts."""
    return any(algorithm.gives == "table" for algorithm in protocol.algorithms)


def counts_in(layout: Layout) -> int:
    """Return how many counts a layout asks for; how many sites hold each back is none of a patient."""
    return sum(int(np.prod(term.shape)) for term in layout if term.kind == "count" and not term.name.endswith("/held"))


def counts_planned(protocol: Protocol) -> int:
    """Return how many counts the tables of a study ask for at most, over all rounds."""
    found = 0
    for algorithm in protocol.algorithms:
        if algorithm.gives == "table":
            first = algorithm.begin(protocol, {}, Stream.public(0))
            found += algorithm.leaves()[0] * counts_in(algorithm.ask(first).layout) if isinstance(first, State) else 0
    return found


def limits_text(protocol: Protocol) -> str:
    """Return the commented table for a policy file; empty for a study that asks for no tables."""
    if not tells_tables(protocol):
        return ""
    return f"""
# [statistics]                   # for studies that only count; this table comes last
# ledger = "../ledger"           # folder in which is noted what was told of these patients; the same one for all studies of them
# studies = 3                    # most such studies in `days`
# counts = {max(counts_planned(protocol), 1):<21} # most counts (cells of tables) asked in `days`, over all studies
# days = 365
# smallest_count = {SMALLEST_COUNT:<13} # this hospital's own k: a study that lets counts of fewer patients be told is refused
"""
