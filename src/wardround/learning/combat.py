"""Take away from numbers what differs between sites beyond what covariates explain: linear ComBat, from sums alone.

A number y of a patient at site i is modelled as `level + X effects + shift_i + scale_i x error`, X being covariates that the plan names.
Effects, level and the common spread come from sums over all sites (`sums`, `solved`); shift and scale are worked out at the site from its
own training rows and drawn towards the mean over that site's fields by empirical Bayes (`site_effects`). They never leave, and follow from
the snapshot and the shared numbers, so they are worked out where they are needed and kept nowhere.

It cannot tell a scanner from a population: true differences between hospitals that no covariate explains are taken away too.

Everything is in units of half the contract's range. A missing number stays missing; covariates are never missing.

Source: Johnson, Li, Rabinovic, Adjusting batch effects in microarray expression data using empirical Bayes methods, Biostatistics 2007,
sections 3.1 and 3.2; Chen et al., Privacy-preserving harmonization via distributed ComBat, NeuroImage 2022 (the sums).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from wardround.learning.inputs import input_names, scaled_rows
from wardround.study.arrays import Arrays, arrays_digest, put_under, under
from wardround.study.dataset import Dataset
from wardround.study.protocol import Contract, Protocol

PREFIX = "combat"
FEWEST = 3
"""Known training values of a field under which a site's own shift and scale are not worked out: the field stays as it is."""

ALIKE = 0.1
"""Deviation of a site's training values, in units of the spread, under which a field counts as always the same there and stays as it is.

It is asked of the values themselves, since covariates move what is expected of a value that never changes, and of what they leave, since
a scale of nearly nothing would stretch the next value that differs beyond all measure.
"""

_SINGULAR = 1e-9
_CLOSE = 1e-12
_TURNS = 1000


@dataclass(frozen=True)
class Fields:
    """Name what is harmonised, and by what.

    Attributes:
        contract: the fields' meaning.
        fields: numbers to be harmonised, V of them.
        covariates: fields whose effects are to stay, giving P columns.
    """

    contract: Contract
    fields: Sequence[str]
    covariates: Sequence[str]

    @classmethod
    def of(cls, contract: Contract, fields: Sequence[str], covariates: Sequence[str]) -> Fields:
        """Return the fields that a phase names; all number inputs that are no covariates where it names none."""
        numbers = [name for name in contract.inputs if contract.fields[name].range is not None and name not in covariates]
        return cls(contract, tuple(fields) or tuple(numbers), tuple(covariates))

    @property
    def places(self) -> list[int]:
        """Return where the fields stand among a model's inputs."""
        names = input_names(self.contract)
        return [names.index(name) for name in self.fields]

    @property
    def columns(self) -> int:
        """Return P: a number is one column, a code one less than it has codes."""
        return sum(len(self.contract.fields[name].codes or (0, 0)) - 1 for name in self.covariates)

    def numbers(self, data: Dataset) -> np.ndarray:
        """Return float64 [N, V], NaN where missing."""
        return scaled_rows(self.contract, data)[:, self.places]

    def design(self, data: Dataset) -> np.ndarray:
        """Return float64 [N, P], the covariates: numbers scaled by their range, codes as columns of 0 and 1 but for the first code."""
        parts = []
        for name in self.covariates:
            field, column = self.contract.fields[name], data.columns[name]
            if field.range is not None:
                low, high = field.range
                parts.append((column - (low + high) / 2) / ((high - low) / 2))
            else:
                parts += [(column == code).astype(np.float64) for code in range(1, len(field.codes or ()))]
        return np.stack(parts, axis=1) if parts else np.zeros((len(data), 0))


def sums(about: Fields, data: Dataset) -> dict[str, np.ndarray]:
    """Return a site's sums over training rows in which a field is known.

    `known` [V], `y` [V] and `x` [V, P]; and about the site's own means, so that its shift drops out, `yy` [V], `xy` [V, P] and
    `xx` [V, P, P]. A field with fewer than three values at this site adds nothing.
    """
    rows = data.rows("train")
    y, x = about.numbers(data)[rows], about.design(data)[rows]
    known = ~np.isnan(y)
    known &= np.sum(known, axis=0) >= FEWEST
    count = np.sum(known, axis=0)
    filled = np.where(known, y, 0.0)
    divisor = np.maximum(count, 1)
    total_x = known.T.astype(np.float64) @ x
    apart_y = np.where(known, y - np.sum(filled, axis=0) / divisor, 0.0)
    apart_x = (x[:, None, :] - total_x / divisor[:, None]) * known[:, :, None]
    return {
        **{"known": count, "y": np.sum(filled, axis=0), "x": total_x},
        "yy": np.sum(apart_y * apart_y, axis=0),
        "xy": np.einsum("nv,nvp->vp", apart_y, apart_x),
        "xx": np.einsum("nvp,nvq->vpq", apart_x, apart_x),
    }


def solved(total: Arrays) -> dict[str, np.ndarray]:
    """Return `level` [V], `effects` [V, P] and `spread` [V] from the sums over all sites: the least squares of all rows together.

    Elementwise arithmetic only (Gauss-Jordan elimination written out), so that every site has the same bits. The spread is the square root
    of the mean squared residual; 1 where nothing varies. A covariate that says nothing beside the others gets no effect.
    """
    rows = np.maximum(total["known"], 1.0)
    effects = eliminated(total["xx"], total["xy"])
    level = (total["y"] - np.sum(effects * total["x"], axis=-1)) / rows
    explained = 2 * np.sum(effects * total["xy"], axis=-1) - np.sum(effects * np.sum(total["xx"] * effects[:, None, :], axis=-1), axis=-1)
    variance = np.maximum((total["yy"] - explained) / rows, 0.0)
    spread = np.sqrt(variance)
    return {"level": level, "effects": effects, "spread": np.where(spread > 1e-6, spread, 1.0)}


def eliminated(matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return the solution [V, P] of V symmetric systems [V, P, P] with right sides [V, P]; 0 where a column follows from those before."""
    left, solution = np.array(matrix, dtype=np.float64), np.array(right, dtype=np.float64)
    size = solution.shape[-1]
    before = np.stack([left[:, one, one] for one in range(size)], axis=-1) if size else solution
    used = np.zeros(solution.shape, dtype=bool)
    for one in range(size):
        pivot = left[:, one, one]
        fit = pivot > _SINGULAR * before[:, one]
        used[:, one] = fit
        safe = np.where(fit, pivot, 1.0)
        row, value = left[:, one, :] / safe[:, None], solution[:, one] / safe
        factor = np.where(fit[:, None], left[:, :, one], 0.0)
        factor[:, one] = 0.0
        left = left - factor[:, :, None] * row[:, None, :]
        solution = solution - factor * value[:, None]
        left[:, one, :] = np.where(fit[:, None], row, left[:, one, :])
        solution[:, one] = np.where(fit, value, solution[:, one])
    return np.where(used, solution, 0.0)


def site_effects(about: Fields, shared: Arrays, data: Dataset, shrink: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Return a site's own shift and scale of each field, float64 [V], in units of the spread; 0 and 1 where it stays as it is.

    That is where fewer than `FEWEST` training values are known, or they are (nearly) always the same: see `ALIKE`.

    Args:
        about: which fields.
        shared: `level`, `effects` and `spread`.
        data: the site's snapshot; its training rows count.
        shrink: draw both towards their means over this site's fields, by empirical Bayes; needs two fields or more.
    """
    error = standardised(about, shared, data)[data.rows("train")]
    known = ~np.isnan(error)
    count = np.sum(known, axis=0).astype(np.float64)
    fit = count >= FEWEST
    shift = np.where(fit, np.sum(np.where(known, error, 0.0), axis=0) / np.maximum(count, 1), 0.0)
    squares = np.sum(np.where(known, (error - shift) ** 2, 0.0), axis=0)
    variance = np.where(fit, squares / np.maximum(count - 1, 1), 1.0)
    fit &= (variance > ALIKE**2) & (_deviation(about.numbers(data)[data.rows("train")]) > ALIKE * shared["spread"])
    if shrink and np.sum(fit) >= 2:
        one = _drawn_together(shift[fit], variance[fit], count[fit], squares[fit])
        shift[fit], variance[fit] = one
    return np.where(fit, shift, 0.0), np.where(fit, np.sqrt(variance), 1.0)


def _deviation(values: np.ndarray) -> np.ndarray:
    """Return the deviation of the known values in each column of [N, V]; 0 where there are fewer than two."""
    known = ~np.isnan(values)
    count = np.sum(known, axis=0)
    mean = np.sum(np.where(known, values, 0.0), axis=0) / np.maximum(count, 1)
    return np.asarray(np.sqrt(np.sum(np.where(known, (values - mean) ** 2, 0.0), axis=0) / np.maximum(count - 1, 1)))


def _drawn_together(shift: np.ndarray, variance: np.ndarray, count: np.ndarray, squares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return shifts and variances after shrinkage; priors by the method of moments over a site's fields (Johnson et al., section 3.2)."""
    towards, apart = np.mean(shift), np.var(shift, ddof=1)
    middle, wide = np.mean(variance), np.var(variance, ddof=1)
    if wide <= 0 or apart <= 0:
        return shift, variance
    shape, rate = (2 * wide + middle * middle) / wide, (middle * wide + middle**3) / wide
    new_shift, new_variance = shift, variance
    for _ in range(_TURNS):
        before = new_shift, new_variance
        new_shift = (count * apart * shift + new_variance * towards) / (count * apart + new_variance)
        around = squares + count * (shift - new_shift) ** 2
        new_variance = (0.5 * around + rate) / (0.5 * count + shape - 1)
        if max(np.max(np.abs(new_shift - before[0])), np.max(np.abs(new_variance - before[1]))) < _CLOSE:
            break
    return new_shift, new_variance


def standardised(about: Fields, shared: Arrays, data: Dataset) -> np.ndarray:
    """Return float64 [N, V]: how far each value lies from what level and effects say, in units of the spread."""
    return np.asarray((about.numbers(data) - expected(about, shared, data)) / shared["spread"])


def expected(about: Fields, shared: Arrays, data: Dataset) -> np.ndarray:
    """Return float64 [N, V]: level + X effects."""
    return np.asarray(shared["level"] + about.design(data) @ shared["effects"].T)


def harmonised(protocol: Protocol, data: Dataset, norm: Arrays) -> np.ndarray:
    """Return a model's inputs float64 [N, F], harmonised as the protocol's phase of kind "combat" says.

    Args:
        protocol: has such a phase.
        data: the site's snapshot.
        norm: what the phase gave, or its second task brought: `combat/...`.
    """
    options = protocol.by_phase[str(protocol.giving("norm"))].options
    about = Fields.of(protocol.contract, options.fields, options.covariates)
    return harmonised_rows(about, under(norm, PREFIX), data, options.shrink)


def harmonised_rows(about: Fields, shared: Arrays, data: Dataset, shrink: bool = True) -> np.ndarray:
    """Return a model's inputs float64 [N, F], as `scaled_rows` gives them, with the harmonised fields in place of the others' own.

    Made once for each snapshot and each set of shared numbers, and kept with the snapshot.
    """
    key = f"combat {arrays_digest(put_under(PREFIX, shared))} {shrink}"
    if key not in data.cache:
        shift, scale = site_effects(about, shared, data, shrink)
        error = (standardised(about, shared, data) - shift) / scale
        z = scaled_rows(about.contract, data).copy()
        z[:, about.places] = expected(about, shared, data) + shared["spread"] * error
        data.cache[key] = z
    return data.cache[key]
