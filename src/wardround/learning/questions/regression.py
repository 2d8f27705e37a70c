"""Ask for a number: length of stay, beds needed, a dose.

The network learns in units of the label's spread, which comes with the moments; predictions, errors and metrics are in the contract's unit.
Predictions beyond the contract's range are judged as its ends, so that every sum is bounded. Prediction intervals are chosen on validation
patients and their coverage is counted on test patients (`residuals.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field as Bound

from wardround.learning.evaluation import Estimate
from wardround.learning.questions import residuals
from wardround.learning.questions.curves import HEAVIEST, ratio
from wardround.learning.questions.families import Family, Gaussian, Poisson, Quantile
from wardround.study.arrays import Arrays, under
from wardround.study.errors import DataError, ProtocolError
from wardround.study.interfaces import Batch, Question
from wardround.study.layout import Term
from wardround.study.protocol import Contract

if TYPE_CHECKING:
    from torch import Tensor

ENOUGH = 30
_IN_UNITS = ("mae", "rmse", "calibration_gap", "pinball", "half_width", "bound")


@dataclass(frozen=True)
class Regression(Question):
    """Predict the label's mean, a count's rate, or a quantile.

    Attributes:
        family: "gaussian" (the mean), "poisson" (the mean of a count; effects multiply) or "quantile".
        quantile: which, above 0 and below 1; for family = "quantile" only, and there needed.
        exposure: field with how much time, or how many beds, a count is for; for family = "poisson" only.
        interval: share of patients that a prediction interval is to hold, at least 0.5.
    """

    family: Literal["gaussian", "poisson", "quantile"] = "gaussian"
    quantile: Annotated[float, Bound(gt=0, lt=1)] | None = None
    exposure: str | None = None
    interval: Annotated[float, Bound(ge=0.5, lt=1)] = 0.9

    validated = "sums and histograms of the received model's errors and predictions"
    tested = "sums and histograms of the errors and predictions"
    few = "fewer than 30"

    @property
    def span(self) -> tuple[float, float]:
        """Return the label's range in the contract; of a question that has not met one, that of a scaled number."""
        return (-1.0, 1.0)

    @property
    def unit(self) -> str:
        """Return the label's unit, "" for none."""
        return ""

    @property
    def kind(self) -> Family:
        """Return the family."""
        match self.family:
            case "poisson":
                return Poisson()
            case "quantile":
                return Quantile(self.quantile or 0.5)
        return Gaussian()

    @property
    def better(self) -> Mapping[str, int]:
        """Return the metrics of the family."""
        return self.kind.better

    @property
    def units(self) -> Mapping[str, str]:
        """Return the label's unit for each metric that has it."""
        own = {*self.better, "bound" if self.kind.signed else "half_width"}
        return {name: self.unit for name in _IN_UNITS if self.unit and name in own}

    def about(self, contract: Contract) -> Question:
        """Return this question with the label's range and unit, which bound its sums."""
        field = contract.fields.get(contract.label)
        if field is None or field.range is None:
            return self
        low, high = field.range
        return InContract(**asdict(self), low=low, high=high, of="" if field.unit in (None, "1") else str(field.unit))

    def outputs(self, contract: Contract) -> int:
        """Return 1.

        Raises:
            ProtocolError: the label is no number, or the options do not fit the family; names the option.
        """
        field = contract.fields[contract.label]
        if field.range is None:
            message = f"contract.label: {contract.label!r} is a code, and 'regression' predicts a number."
            raise ProtocolError(message, "Use kind = 'binary' or 'multiclass', or give the label type = 'number'.")
        if (self.quantile is not None) != (self.family == "quantile"):
            remedy = "Write quantile = 0.9, say, with family = 'quantile', and leave it out with another family."
            raise ProtocolError(f"question.quantile: does not fit family = {self.family!r}.", remedy)
        if self.family == "poisson" and field.range[0] < 0:
            message = f"question.family: 'poisson' predicts counts, and {contract.label!r} may be below 0."
            raise ProtocolError(message, "Let its range begin at 0 or above, or use family = 'gaussian'.")
        self._check_exposure(contract)
        return 1

    def _check_exposure(self, contract: Contract) -> None:
        if self.exposure is None:
            return
        field, where = contract.fields.get(self.exposure), "question.exposure"
        if self.family != "poisson":
            raise ProtocolError(f"{where}: does not fit family = {self.family!r}.", "Use family = 'poisson', or leave it out.")
        if field is None or self.exposure == contract.label:
            raise ProtocolError(f"{where}: {self.exposure!r} is no field beside the label.", "Name a number field of the contract.")
        if field.range is None or field.range[0] <= 0 or field.missing != "refuse" or field.outside != "refuse":
            message = f"{where}: {self.exposure!r} must be a number above 0 that is never missing."
            raise ProtocolError(message, "Let its range begin above 0, and leave its keys missing and outside out.")

    def target(self, contract: Contract, columns: Arrays) -> np.ndarray:
        """Return float64 [N], in the contract's unit."""
        return np.asarray(columns[contract.label]).astype(np.float64)

    def batch(self, contract: Contract, columns: Arrays, rows: np.ndarray, norm: Arrays) -> dict[str, np.ndarray]:
        """Return `y`; `unit` float64 [N, 2], the label's mean and deviation by the normalisation; and `exposure` where there is one."""
        (low, high), count = self.span, len(rows)
        half = (high - low) / 2
        centre, spread = low + half + half * norm["mean"][-1], half * norm["deviation"][-1]
        if self.family == "poisson":
            centre = max(centre, half * 1e-6)
        found = {"y": self.target(contract, {contract.label: columns[contract.label][rows]}), "unit": np.tile((centre, spread), (count, 1))}
        if self.exposure is not None:
            least, most = contract.fields[self.exposure].range or (1.0, 1.0)
            found["exposure"] = columns[self.exposure][rows] / np.sqrt(least * most)
        return found

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        """Return the family's loss of each example in units of the label's spread, float32 [B], from outputs [B, 1]."""
        y, unit, exposure = (batch[name].to(output.dtype) if name in batch else None for name in ("y", "unit", "exposure"))
        assert y is not None and unit is not None
        return self.kind.loss(output[:, 0], y, unit[:, 0], unit[:, 1], exposure)

    def told(self, output: np.ndarray, batch: Batch) -> np.ndarray:
        """Return predictions in the contract's unit, float64 [N, 1], of a network's outputs."""
        unit = batch["unit"]
        return self.kind.told(output[:, 0], unit[:, 0], unit[:, 1], batch.get("exposure"))[:, None]

    def _limits(self) -> dict[str, float]:
        """Return the names of the sums over rows, and how much one row may add to each."""
        low, high = self.span
        reach, half, kind = high - low, (high - low) / 2, self.kind
        if kind.signed:
            return {kind.cost: kind.dearest(self.span), "below": 1.0}
        level = {"level": half, "level_squares": half * half}
        return {"absolute": reach, "squares": reach * reach, **level, kind.cost: kind.dearest(self.span)}

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout.

        `rows` and the sums of the errors []; counts of errors [bins]; unless a quantile is asked for, `binned` and `gap` [128], rows and
        label minus prediction by bin of the prediction; a leading axis with replicates. Without such an axis: `predicted` [128] and
        `labels` [512].
        """
        lead, heavy = ((1 + replicates,), most * HEAVIEST) if replicates else ((), most)
        reach = self.span[1] - self.span[0]
        bins, size = residuals.PREDICTED, len(self._ends())
        found = [Term.count("rows", lead, heavy, sites), Term.count("errors", (*lead, size), heavy, sites)]
        found += [Term.sized(name, lead, heavy * limit, sites, bits=64) for name, limit in self._limits().items()]
        if not self.kind.signed:
            found.append(Term.count("binned", (*lead, bins), heavy, sites))
            found.append(Term.sized("gap", (*lead, bins), heavy * reach, sites, bits=64))
            found.append(Term.sized("predicted", (bins,), most * max(map(abs, self.span)), sites, bits=64))
        return (*found, Term.count("labels", (residuals.LABELS,), most, sites))

    def _ends(self) -> np.ndarray:
        return residuals.SIGNED_ENDS if self.kind.signed else residuals.ENDS

    def metrics(self, output: np.ndarray, batch: Batch, weights: np.ndarray | None = None) -> Arrays:
        """Return the sums of predictions [N, 1] in the contract's unit.

        Raises:
            DataError: a prediction is not finite.
        """
        if not bool(np.all(np.isfinite(output))):
            remedy = "Lower the learning rate, or look for inputs far outside the contract's ranges."
            raise DataError("The model gives predictions that are not finite.", remedy)
        (low, high), kind, y = self.span, self.kind, batch["y"]
        told = np.clip(output[:, 0], low, high)
        error, level = y - told, y - (low + high) / 2
        each = {
            **{"absolute": np.abs(error), "squares": error * error, "level": level, "level_squares": level * level},
            **{"below": (error <= 0).astype(np.float64), kind.cost: kind.costs(y, told, self.span)},
        }
        place = residuals.places(error, high - low, kind.signed)
        found = {name: np.asarray(np.sum(each[name]) if weights is None else weights @ each[name]) for name in self._limits()}
        found["rows"] = np.asarray(float(len(y))) if weights is None else np.sum(weights, axis=1)
        found["errors"] = residuals.counted(place, len(self._ends()), weights)
        found["labels"] = residuals.counted(residuals.equal_bins(y, self.span, residuals.LABELS), residuals.LABELS, None)
        if not kind.signed:
            bins = residuals.equal_bins(told, self.span, residuals.PREDICTED)
            found["binned"] = residuals.counted(bins, residuals.PREDICTED, weights)
            found["gap"] = residuals.counted(bins, residuals.PREDICTED, weights, error)
            found["predicted"] = residuals.counted(bins, residuals.PREDICTED, None, told)
        return found

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return mean absolute or root mean squared error, R2, calibration gap, deviance or pinball loss; `loss` is the family's own."""
        rows = sums["rows"]
        if name == "mae":
            return ratio(sums["absolute"], rows)
        if name == "rmse":
            return np.asarray(np.sqrt(ratio(sums["squares"], rows)))
        if name == "r2":
            spread = sums["level_squares"] - sums["level"] * ratio(sums["level"], rows)
            return np.asarray(1.0 - ratio(sums["squares"], spread))
        if name == "calibration_gap":
            return residuals.calibration_gap(sums["binned"], sums["gap"])
        if name == "quantile_gap":
            return np.asarray(np.abs(ratio(sums["below"], rows) - (self.quantile or 0.5)))
        return ratio(sums[self.kind.cost], rows)

    def rates_at(self, sums: Arrays, validation: Arrays, specificity: float) -> dict[str, np.ndarray]:
        """Return coverage and half-width of the prediction interval that these validation rows choose.

        Of a quantile: `below`, the share under the prediction; the coverage of a bound that is right on validation, and what it adds.
        """
        upto = residuals.conformal_bin(validation["errors"], self._wanted)
        coverage, width = residuals.held(sums["errors"], upto), np.asarray(np.nan if upto is None else self._width(upto))
        if self.kind.signed:
            return {"below": ratio(sums["below"], sums["rows"]), "coverage": coverage, "bound": width}
        return {"coverage": coverage, "half_width": width}

    @property
    def _wanted(self) -> float:
        return self.quantile or 0.5 if self.kind.signed else self.interval

    def _width(self, upto: int) -> float:
        return float(self._ends()[upto] * (self.span[1] - self.span[0]))

    def further(self, total: Arrays, sites: Mapping[str, Arrays]) -> dict[str, Any]:
        """Return the one interval that all sites' validation rows choose, with its coverage in all and by site, and the calibration.

        Args:
            total: `test/...`, `validation/...` and `patients` of the federated model over all sites.
            sites: the same by site, of those that show theirs.
        """
        upto = residuals.conformal_bin(total.get("validation/errors", np.zeros(1)), self._wanted)
        width = None if upto is None else self._width(upto)
        told = {"share": self._wanted, "bound" if self.kind.signed else "half_width": width, "unit": self.unit}
        by_site = {site: asdict(Estimate.of(residuals.held(one["test/errors"], upto))) for site, one in sorted(sites.items())}
        overall = asdict(Estimate.of(residuals.held(total["test/errors"], upto)))
        found: dict[str, Any] = {"interval": {**told, "coverage": overall, "sites": by_site}}
        if not self.kind.signed:
            found["calibration"] = self._calibration(total)
        return found

    def _calibration(self, total: Arrays) -> list[dict[str, Any]]:
        test = under(total, "test")
        binned, gap = (value[0] if value.ndim > 1 else value for value in (test["binned"], test["gap"]))
        rows_a_patient = float(np.sum(binned)) / max(float(total["patients"][0]), 1.0)
        least = int(np.ceil(SMALL * max(rows_a_patient, 1.0)))
        return residuals.calibration_groups(binned, gap, test["predicted"], least)

    def here(self, told: Mapping[str, Any], test: Arrays) -> dict[str, Any]:
        """Return under "interval" the coverage at one site of the interval that a released result names; nothing where there is none.

        Args:
            told: the released result.
            test: the site's own sums of the federated model on test rows.
        """
        interval = told.get("interval") or {}
        width = interval.get("bound" if self.kind.signed else "half_width")
        if width is None or "errors" not in test:
            return {}
        upto = int(np.argmin(np.abs(self._ends() * (self.span[1] - self.span[0]) - width)))
        return {"interval": asdict(Estimate.of(residuals.held(test["errors"], upto)))}

    def chance(self, sums: Arrays) -> dict[str, float]:
        """Return the metrics of one who predicts the same for everybody, from the labels in bins; R2 is then 0."""
        labels, (low, high), kind = sums["labels"], self.span, self.kind
        middles = low + (high - low) * (np.arange(residuals.LABELS) + 0.5) / residuals.LABELS
        if not np.any(labels > 0):
            return dict.fromkeys(self.better, float("nan"))
        guess, rows = kind.guess(middles, labels), np.sum(labels)
        cost = float(np.sum(labels * kind.costs(middles, np.full(len(middles), guess), self.span)) / rows)
        apart = float(np.sum(labels * np.abs(middles - guess)) / rows)
        spread = float(np.sqrt(np.sum(labels * (middles - guess) ** 2) / rows))
        known = {"mae": apart, "rmse": spread, "r2": 0.0, kind.cost: cost}
        return {name: known.get(name, float("inf")) for name in self.better}

    def tally(self, batch: Batch, outputs: int) -> np.ndarray:
        """Return the count of patients, int64 [1]."""
        return np.array([len(np.unique(batch["patient"]))], dtype=np.int64)

    def groups(self, outputs: int) -> int:
        """Return 1."""
        return 1

    def enough(self, tally: np.ndarray) -> bool:
        """Say whether there are at least 30 patients."""
        return bool(tally[0] >= ENOUGH)

    def probability(self, output: np.ndarray) -> np.ndarray:
        """Return the predictions themselves: those of several models are averaged as they are."""
        return output

    def score(self, probability: np.ndarray) -> np.ndarray:
        """Return the predictions themselves."""
        return probability


SMALL = 10
"""Patients under which nothing is told about a group."""


@dataclass(frozen=True)
class InContract(Regression):
    """Ask for a number whose range and unit are known.

    Attributes:
        low: lower end of the label's range.
        high: upper end.
        of: its unit, "" for none.
    """

    low: float = -1.0
    high: float = 1.0
    of: str = ""

    @property
    def span(self) -> tuple[float, float]:
        """Return the label's range."""
        return (self.low, self.high)

    @property
    def unit(self) -> str:
        """Return the label's unit."""
        return self.of
