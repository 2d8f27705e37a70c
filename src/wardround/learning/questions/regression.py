"""Ask for a number: length of stay, beds needed, a dose.

The network learns in units of the label's spread, which comes with the moments; predictions, errors and metrics are in the contract's unit.
Predictions beyond the contract's range are judged as its ends, so that every sum is bounded. A patient counts once in every metric, however
many rows: each row has its share of the vote. Prediction intervals are chosen on validation patients and their coverage is counted on test
patients; what leaves of labels and predictions is of ten patients or more (`residuals.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field as Bound

from wardround.learning.evaluation import Estimate
from wardround.learning.questions import guessing, residuals
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
INTERVAL = "interval"
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

    validated = "the number of patients and the received model's summed errors, for r2 or a gap with sums of labels too,"
    tested = "sums of errors and labels, a histogram of the errors, and mean labels and predictions in groups of at least 10 patients,"
    smallest = residuals.SMALL
    later = MappingProxyType(
        {
            **{"errors": (INTERVAL,), "binned": ("calibration_gap",), "gap": ("calibration_gap",), "predicted": ()},
            **{"labels": (), "label_levels": (), "label_exposed": (), "logs": ()},
            **{name: ("r2",) for name in ("level", "level_squares", "exposed", "exposed_squares", "together")},
            **{"absolute": ("mae",), "squares": ("rmse", "r2"), "deviance": ("deviance",), "pinball": ("pinball",)},
            "below": ("quantile_gap",),
        }
    )
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
        other = contract.fields.get(self.exposure or "")
        least, most = other.range if other is not None and other.range is not None else (1.0, 1.0)
        exposed = float(np.sqrt(most / least)) if least > 0 else 1.0
        return InContract(**asdict(self), low=low, high=high, of="" if field.unit in (None, "1") else str(field.unit), exposed=exposed)

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
        """Return the names of the sums over rows, and how much one patient may add to each."""
        (low, high), kind = self.span, self.kind
        reach, most = high - low, self.most_exposed
        if kind.signed:
            return {kind.cost: kind.dearest(self.span), "below": 1.0}
        level = max(abs(end - self._centre) for end in self.span)
        found = {"absolute": reach, "squares": reach * reach, "level": level, "level_squares": level * level}
        found[kind.cost] = kind.dearest(self.span)
        if isinstance(kind, Poisson):
            found["logs"] = high * (abs(float(np.log(high))) + float(np.log(most))) + 1.0
        if self.exposure is not None:
            found.update({"exposed": most, "exposed_squares": most * most, "together": level * most})
        return found

    @property
    def _centre(self) -> float:
        """Return where levels of the label are told from."""
        return sum(self.span) / 2 if self.kind.centred else 0.0

    @property
    def most_exposed(self) -> float:
        """Return the largest exposure, as `batch` gives it; 1 without one."""
        return 1.0

    def terms(self, outputs: int, most: float, sites: int, replicates: int = 0) -> tuple[Term, ...]:
        """Return the layout, in which a patient counts once, with a leading axis where there are replicates.

        `rows`, how many patients' votes, and the sums of errors, labels and exposures []; votes on errors [bins]; unless a quantile is
        asked for, `binned` and `gap` [128], votes and label minus prediction by bin of a group's prediction. Without that axis:
        `predicted` [128], and `labels`, `label_levels` and `label_exposed` [512], votes, levels and exposures by bin of a group's label.
        """
        lead, heavy = ((1 + replicates,), most * HEAVIEST) if replicates else ((), most)
        low, high = self.span
        bins, labels = (residuals.PREDICTED,), (residuals.LABELS,)
        found = [Term.count("rows", lead, heavy, sites), Term.count("errors", (*lead, len(self._ends())), heavy * residuals.VOTES, sites)]
        sizes = [(name, lead, heavy * limit) for name, limit in self._limits().items()]
        if not self.kind.signed:
            found.append(Term.count("binned", (*lead, *bins), heavy * residuals.VOTES, sites))
            sizes += [("gap", (*lead, *bins), heavy * (high - low)), ("predicted", bins, most * max(map(abs, self.span)))]
        sizes.append(("label_levels", labels, most * max(abs(end - self._centre) for end in self.span)))
        if self.exposure is not None:
            sizes.append(("label_exposed", labels, most * self.most_exposed))
        found += [Term.sized(name, shape, limit, sites, bits=64) for name, shape, limit in sizes]
        return (*found, Term.count("labels", labels, most * residuals.VOTES, sites))

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
        vote = residuals.votes(batch["patient"] if "patient" in batch else np.arange(len(y)))
        share, told = vote / residuals.VOTES, np.clip(output[:, 0], low, high)
        error, level, exposed = y - told, y - self._centre, np.asarray(batch.get("exposure", np.ones(len(y))))
        each = {
            **{"absolute": np.abs(error), "squares": error * error, "level": level, "level_squares": level * level},
            **{"exposed": exposed, "exposed_squares": exposed * exposed, "together": level * exposed},
            **{"below": (error <= 0).astype(np.float64), kind.cost: kind.costs(y, told, self.span)},
        }
        if isinstance(kind, Poisson):
            each["logs"] = kind.logs(y, exposed)
        over = np.ones(len(y), dtype=np.int64) if weights is None else weights
        found = {name: np.asarray(over @ (share * each[name])) for name in self._limits()}
        found["rows"] = np.rint(np.asarray(over @ vote) / residuals.VOTES)
        found["errors"] = residuals.counted(residuals.places(error, high - low, kind.signed), len(self._ends()), weights, vote)
        near = residuals.Groups.of(y / exposed, vote, self.span, residuals.LABELS)
        found.update(labels=near.summed(vote), label_levels=near.summed(share * level))
        if self.exposure is not None:
            found["label_exposed"] = near.summed(share * exposed)
        if not kind.signed:
            near = residuals.Groups.of(told, vote, self.span, residuals.PREDICTED)
            found.update(binned=near.summed(vote, weights), gap=near.summed(share * error, weights), predicted=near.summed(share * told))
        return found

    def finalise(self, sums: Arrays, name: str) -> np.ndarray:
        """Return mean absolute or root mean squared error, R2, calibration gap, deviance or pinball loss; `loss` is the family's own."""
        rows = sums["rows"]
        if name == "mae":
            return ratio(sums["absolute"], rows)
        if name == "rmse":
            return np.asarray(np.sqrt(ratio(sums["squares"], rows)))
        if name == "r2":
            return np.asarray(1.0 - ratio(sums["squares"], guessing.spread(sums)))
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
        return residuals.calibration_groups(binned, gap, test["predicted"])

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
        """Return the metrics of one who says the same for everybody, or the same rate times the exposure; R2 is then 0.

        The mean absolute error and the pinball loss are lower bounds (`guessing.py`).
        """
        scalar = {*self._limits(), "rows"}
        one = {name: np.atleast_1d(value)[0] if name in scalar else value for name, value in sums.items()}
        if not one["rows"] > 0:
            return dict.fromkeys(self.better, float("nan"))
        if isinstance(self.kind, Quantile):
            known = {"pinball": guessing.pinball(one, self.kind, self._centre, self.span)}
        else:
            squares = max(float(guessing.spread(one) / one["rows"]), 0.0)
            known = {"mae": guessing.absolute(one), "rmse": float(np.sqrt(squares)), "r2": 0.0}
            if isinstance(self.kind, Poisson):
                known["deviance"] = float(guessing.deviance(one))
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


@dataclass(frozen=True)
class InContract(Regression):
    """Ask for a number whose range and unit are known.

    Attributes:
        low: lower end of the label's range.
        high: upper end.
        of: its unit, "" for none.
        exposed: largest exposure in units of the middle of its range (the geometric one); the smallest is 1 / this.
    """

    low: float = -1.0
    high: float = 1.0
    of: str = ""
    exposed: float = 1.0

    @property
    def span(self) -> tuple[float, float]:
        """Return the label's range."""
        return (self.low, self.high)

    @property
    def unit(self) -> str:
        """Return the label's unit."""
        return self.of

    @property
    def most_exposed(self) -> float:
        """Return the largest exposure."""
        return self.exposed
