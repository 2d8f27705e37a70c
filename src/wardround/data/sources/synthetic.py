"""Make up rows for any contract: to rehearse a study before anybody opens a patient's record. Synthetic, and labelled so.

All sites share one hidden truth, drawn from `truth_seed`: each input shifts the log-odds of a label's codes. What differs between sites is
the rows' own `seed`, a `shift` of the inputs (another case mix) and the `prevalence` of the last code of each label.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field as Bound

from wardround.study.dataset import stored_as
from wardround.study.interfaces import Flaw, Source
from wardround.study.protocol import Contract, Field
from wardround.study.streams import Stream

_PER_SPAN = 6.0  # standard deviations from one end of a number's range to the other
_START = 1_577_836_800  # 2020-01-01
_YEARS = 4 * 365 * 86_400


@dataclass(frozen=True)
class Synthetic(Source):
    """Make up rows whose label depends on the inputs.

    Attributes:
        rows: how many.
        seed: of this site's rows and patients.
        truth_seed: of the dependence, the same at all sites of a study.
        rows_per_patient: rows of one patient resemble each other.
        missing: share of missing cells in fields that may be missing.
        shift: by how many standard deviations this site's numbers lie above the middle of their range.
        effect: strength of the dependence: standard deviation of the log-odds, 0 for none.
        prevalence: expected share of the label's last code; None for what the inputs give.
    """

    synthetic = True

    rows: Annotated[int, Bound(ge=1, le=10_000_000)] = 500
    seed: Annotated[int, Bound(ge=0, le=2**53 - 1)] = 0
    truth_seed: Annotated[int, Bound(ge=0, le=2**53 - 1)] = 0
    rows_per_patient: Annotated[int, Bound(ge=1)] = 1
    missing: Annotated[float, Bound(ge=0, lt=1)] = 0.0
    shift: Annotated[float, Bound(ge=-2, le=2)] = 0.0
    effect: Annotated[float, Bound(ge=0, le=10)] = 2.0
    prevalence: Annotated[float, Bound(gt=0, lt=1)] | None = None

    def read(self, contract: Contract) -> pl.DataFrame:
        """Return made-up rows under the contract's own names; patients are called "synthetic-<seed>-<number>"."""
        here = Stream.public(self.seed).child("synthetic", "rows")
        truth = Stream.public(self.truth_seed).child("synthetic", "truth")
        owner = np.arange(self.rows) // self.rows_per_patient
        scale = self.effect / max(1, len(contract.inputs)) ** 0.5
        outputs = [len(contract.fields[name].codes or ()) or 1 for name in contract.targets]
        score = np.zeros((self.rows, sum(outputs) or 1))
        columns: dict[str, pl.Series] = {}
        for name, field in contract.fields.items():
            if name not in contract.targets:
                values, features = self._field(field, owner, here.child(name))
                if name in contract.inputs:
                    score += scale * features @ truth.generator(name).standard_normal((features.shape[1], score.shape[1]))
                columns[name] = self._with_gaps(values, field, here.child(name))
        for name, part in zip(contract.targets, np.split(score, np.cumsum(outputs)[:-1], axis=1), strict=bool(outputs)):
            own = here if contract.label else here.child(name)
            label = self._label(contract.fields[name], part, own)
            columns[name] = self._with_gaps(label, contract.fields[name], own)
        frame = pl.DataFrame({name: columns[name] for name in contract.fields})
        if contract.patient is not None:
            frame = frame.with_columns(
                pl.Series(contract.patient, [f"synthetic-{self.seed}-{number}" for number in owner], dtype=pl.String)
            )
        if contract.time is not None:
            frame = frame.with_columns(pl.Series(contract.time, _START + here.generator("time").integers(0, _YEARS, self.rows)))
        return frame

    def pictures(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        """Yield the images of these rows; see `Source.pictures`."""
        rng = Stream.public(self.seed).child("synthetic", "rows").child(references.name)
        z = self._standard(np.arange(self.rows) // self.rows_per_patient, rng)
        shape, (low, high), kind = field.shape or (1, 1), field.intensity or (0.0, 255.0), stored_as(field)
        patch = _patch(shape)
        for row in references.to_list():
            noise = rng.generator("pixels", row).standard_normal(shape, dtype=np.float32)
            bright = np.float32(np.clip(z[row] + self.shift, -2.9, 2.9) / _PER_SPAN)
            values = low + (high - low) * np.clip(np.float32(0.5) + patch * bright + np.float32(0.08) * noise, 0, 1)
            yield (np.rint(values) if kind.kind in "iu" else values).astype(kind)

    def _field(self, field: Field, owner: np.ndarray, rng: Stream) -> tuple[pl.Series, np.ndarray]:
        """Return a field's values, and what the truth sees of them [N, features]: a standardised number, or a column a code.

        Of an image the values are row numbers, for `pictures`.
        """
        z = self._standard(owner, rng)
        if field.shape is not None:
            return pl.Series(np.arange(len(owner))), np.clip(z + self.shift, -2.9, 2.9)[:, None]
        if field.range is not None:
            values = _into(field.range, np.clip(z + self.shift, -2.9, 2.9))
            return pl.Series(values), _standardised(field.range, values)[:, None]
        codes = field.codes or ()
        # Later codes are a little rarer, as in most clinical tables.
        shares = np.cumsum(1.0 / np.arange(1, len(codes) + 1))
        index = np.searchsorted(shares / shares[-1], rng.generator("code").random(owner[-1] + 1))[owner]
        return pl.Series([codes[one] for one in index], dtype=pl.String), np.eye(len(codes))[index]

    def _standard(self, owner: np.ndarray, rng: Stream) -> np.ndarray:
        """Return standard normal numbers [N]; those of one patient correlate with 0.7 when there are several."""
        own = rng.generator("row").standard_normal(len(owner))
        if self.rows_per_patient == 1:
            return own
        return np.asarray(0.7**0.5 * rng.generator("patient").standard_normal(owner[-1] + 1)[owner] + 0.3**0.5 * own)

    def _with_gaps(self, values: pl.Series, field: Field, rng: Stream) -> pl.Series:
        if not self.missing or field.missing == "refuse":
            return values
        there = pl.Series(rng.generator("gaps").random(len(values)) >= self.missing)
        return pl.select(pl.when(there).then(values)).to_series()

    def _label(self, field: Field, score: np.ndarray, rng: Stream) -> pl.Series:
        """Return the label: drawn from a softmax of the scores, or a number that follows the first score."""
        if field.range is not None:
            noise = rng.generator("label").standard_normal(len(score))
            return pl.Series(_into(field.range, np.clip(0.5 * (score[:, 0] + noise), -2.9, 2.9)))
        score = score - score.mean(axis=0)
        if self.prevalence is not None:
            score[:, -1] += _intercept(score, self.prevalence)
        upto = np.cumsum(_softmax(score), axis=1)
        index = np.minimum((upto < rng.generator("label").random(len(score))[:, None]).sum(axis=1), score.shape[1] - 1)
        codes = field.codes or ()
        return pl.Series([codes[one] for one in index], dtype=pl.String)


def _patch(shape: tuple[int, ...]) -> np.ndarray:
    """Return float32 [*shape]: 1 in the middle, falling off to the sides; the same in every channel."""
    found = np.ones(shape, dtype=np.float32)
    for axis, size in enumerate(shape[1:], start=1):
        place = (np.arange(size) + 0.5) / size - 0.5
        found *= np.exp(-np.square(place / 0.2)).astype(np.float32).reshape([-1 if one == axis else 1 for one in range(len(shape))])
    return found


def _into(span: tuple[float, float], z: np.ndarray) -> np.ndarray:
    """Return standardised numbers [N] on a field's range, rounded to about a hundredth of a standard deviation, as in a chart."""
    low, high = span
    digits = 2 - int(np.floor(np.log10((high - low) / _PER_SPAN)))
    return np.asarray(np.clip(np.round((low + high) / 2 + z * (high - low) / _PER_SPAN, digits), low, high))


def _standardised(span: tuple[float, float], values: np.ndarray) -> np.ndarray:
    low, high = span
    return np.asarray((values - (low + high) / 2) / ((high - low) / _PER_SPAN))


def _softmax(score: np.ndarray) -> np.ndarray:
    odds = np.exp(score - score.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _intercept(score: np.ndarray, share: float) -> float:
    """Return what must be added to the last score so that the last code's expected share is as asked."""
    low, high = -40.0, 40.0
    last = np.zeros(score.shape[1])
    for _ in range(60):
        last[-1] = (low + high) / 2
        low, high = (last[-1], high) if _softmax(score + last)[:, -1].mean() < share else (low, last[-1])
    return float((low + high) / 2)
