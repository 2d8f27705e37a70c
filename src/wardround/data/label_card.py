"""Describe where a hospital's labels come from: a small card that a preflight compares, since the same word may mean different things.

In a site file: `[label_card]` with `source = "main discharge diagnosis"`, `coding = "ICD-10-GM"`, `version = "2024"` and, where there were
several readers, `agreement = 0.81` (kappa) and `readers = 2`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field as Bound

from wardround.study.protocol.section import Section


class LabelCard(Section):
    """Say where a hospital's labels come from: `[label_card]` in its site file. Nothing in it may be about a patient.

    Attributes:
        source: who or what gave the label, such as "discharge diagnosis" or "two radiologists".
        coding: the coding system, such as "ICD-10-GM".
        version: of the coding system, such as "2024".
        agreement: of two readers or more, Cohen's or Fleiss' kappa; left out where there is one reader or none.
        readers: how many read each case.
    """

    source: Annotated[str, Bound(min_length=1, max_length=60)]
    coding: Annotated[str, Bound(max_length=30)] = ""
    version: Annotated[str, Bound(max_length=15)] = ""
    agreement: Annotated[float, Bound(ge=-1, le=1)] | None = None
    readers: Annotated[int, Bound(ge=0, le=100)] = 0
