"""Count the intensities of pictures over all hospitals: how bright they are, how much they vary, where scanners saturate.

Pixels are counted in bins over the contract's range, channel by channel, and mean, deviation and percentiles are read from the counts, so
they are right to within a bin. A bin leaves a hospital only if k patients have a pixel in it: the pixels of rarer ones, say of one
patient's pacemaker, are counted in the nearest bin that k patients share. A hospital with fewer than k patients tells nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field as Bound

from wardround.learning.intensity import folded, histogram_of_patients, percentile
from wardround.learning.pictures import pixels
from wardround.learning.statistics.leaving import Leaving
from wardround.learning.statistics.statistic import Statistic, edges_of, number
from wardround.study.arrays import Arrays
from wardround.study.dataset import Dataset
from wardround.study.layout import Term
from wardround.study.streams import Stream
from wardround.study.task import Answer, Ask, State

AT = (0.01, 0.25, 0.5, 0.75, 0.99)


@dataclass(frozen=True)
class PixelsOptions:
    """Say which images.

    Attributes:
        fields: images of the contract; none named: all.
        bins: of equal width over the contract's intensity range.
    """

    fields: tuple[str, ...] = ()
    bins: Annotated[int, Bound(ge=2, le=4096)] = 64


@dataclass(frozen=True)
class Pixels(Statistic):
    """Count pixels by intensity, over all rows."""

    Options = PixelsOptions
    options: PixelsOptions

    def check(self) -> None:
        """Refuse unknown fields and such that are no images."""
        self.named("fields", self.options.fields, "image")

    @property
    def images(self) -> tuple[str, ...]:
        """Return the fields, in order."""
        return self.named("fields", self.options.fields, "image")

    @property
    def asked_once(self) -> Mapping[str, str]:
        """Return that the intensities of an image are divided once: other bins would tell what lies between their edges."""
        return {f"pixels {name}": f"the intensities of {name!r}" for name in self.images}

    def leaves(self) -> tuple[int, str]:
        """Return one answer."""
        return 1, f"for each channel of {', '.join(self.images)}: how many pixels have which intensity, in {self.options.bins} bins"

    def ask(self, state: State) -> Ask:
        """Ask for counts of pixels, of rows, and how many sites hold them back."""
        bounds, terms = self.protocol.bounds, list[Term]()
        for name in self.images:
            image = self.protocol.contract.fields[name]
            shape = ((image.shape or (1,))[0], self.options.bins)
            terms.append(Term.count(name, shape, float(bounds.examples * pixels(image)), bounds.sites))
            terms.append(Term.count(f"{name}/rows", (), bounds.examples, bounds.sites))
            terms.append(Term.count(f"{name}/held", (), 1, bounds.sites))
        return Ask({}, tuple(terms))

    def answer(self, ask: Ask, data: Dataset, mine: Mapping[str, Arrays], rng: Stream) -> tuple[Answer, Arrays | None]:
        """Return this site's counts over all its rows."""
        leaving, sums = Leaving(self, data, mine), dict[str, np.ndarray]()
        everybody = np.zeros(len(data), dtype=np.int64)
        for name in self.images:
            image = self.protocol.contract.fields[name]
            _, held = leaving.table(f"pixels {name}", (name,), everybody, 1)
            found = folded(*histogram_of_patients(image, data.columns[name], np.arange(len(data)), self.options.bins), self.least)
            tells = not held[0] and bool(found.any())
            sums[name], sums[f"{name}/rows"] = found * tells, np.asarray(len(data) * tells)
            sums[f"{name}/held"] = np.asarray(int(not tells and len(data) > 0))
        return Answer(sums), leaving.proposal

    def told(self, results: Arrays) -> dict[str, Any]:
        """Return by channel: rows, counts by bin, mean, deviation and percentiles in the contract's own intensities."""
        found = []
        for name in self.images:
            low, high = self.protocol.contract.fields[name].intensity or (-1.0, 1.0)
            rows, held = int(results[f"{name}/rows"]), int(results[f"{name}/held"])
            edges, half = edges_of((low, high), self.options.bins), (high - low) / 2
            known: dict[str, Any] = {"count": rows, **({"held_back_at": held} if held else {})}
            for channel, counts in enumerate(results[name]):
                cells = [
                    {"from": float(start), "to": float(end), "count": int(count)}
                    for start, end, count in zip(edges[:-1], edges[1:], counts, strict=True)
                ]
                at = {f"{100 * share:g}": number(low + half * (1 + float(percentile(counts[None], share)[0]))) for share in AT}
                found.append(
                    {"field": name, "channel": channel, "rows": known, "cells": cells, **_spread(counts, edges), "percentiles": at}
                )
        return {"fields": found}


def _spread(counts: np.ndarray, edges: np.ndarray) -> dict[str, float | None]:
    """Return mean and deviation of pixels that lie in the middles of their bins; none without pixels."""
    total = float(counts.sum())
    if not total:
        return {"mean": None, "deviation": None}
    middles = (edges[:-1] + edges[1:]) / 2
    mean = float((counts * middles).sum()) / total
    return {"mean": mean, "deviation": math.sqrt(float((counts * (middles - mean) ** 2).sum()) / total)}
