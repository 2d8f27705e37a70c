"""Make up rows for any contract: to rehearse a study before anybody opens a patient's record. Synthetic, and labelled so.

All sites share one hidden truth, drawn from `truth_seed`: each input shifts the log-odds of the label's codes. What differs between sites
is the rows' own `seed`, a `shift` of the inputs (another case mix) and the `prevalence` of the last code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field as Bound

from wardround.study.interfaces import Source
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
        outputs = len(contract.fields[contract.label].codes or ()) or 1 if contract.label else 1
        score = np.zeros((self.rows, outputs))
        columns: dict[str, pl.Series] = {}
        for name, field in contract.fields.items():
            if name != contract.label:
                values, features = self._field(field, owner, here.child(name))
                if name in contract.inputs:
                    score += scale * features @ truth.generator(name).standard_normal((features.shape[1], outputs))
                columns[name] = self._with_gaps(values, field, here.child(name))
        if contract.label:
            columns[contract.label] = self._label(contract.fields[contract.label], score, here)
        frame = pl.DataFrame({name: columns[name] for name in contract.fields})
        if contract.patient is not None:
            frame = frame.with_columns(
                pl.Series(contract.patient, [f"synthetic-{self.seed}-{number}" for number in owner], dtype=pl.String)
            )
        if contract.time is not None:
            frame = frame.with_columns(pl.Series(contract.time, _START + here.generator("time").integers(0, _YEARS, self.rows)))
        return frame

    def _field(self, field: Field, owner: np.ndarray, rng: Stream) -> tuple[pl.Series, np.ndarray]:
        """Return a field's values, and what the truth sees of them [N, features]: a standardised number, or a column a code."""
        z = self._standard(owner, rng)
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
