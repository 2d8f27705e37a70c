"""Put numbers and the study's fixed words the way people read them: one place, so that every page says the same thing the same way.

Everything here is text in, text out. Minus signs are real minus signs, units keep to their numbers with a no-break space, and a value that
does not exist is a dash, never a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"
GAP = "\N{NO-BREAK SPACE}"
LEVEL = f"95{GAP}%"

VERDICTS: Mapping[str, str] = MappingProxyType({"gains": "gains", "no_worse": "no worse", "loses": "loses", "cannot_say": "cannot say"})
"""Word of each verdict, in the order in which pages list them."""

VERDICT_MEANS: Mapping[str, str] = MappingProxyType(
    {
        "gains": "better than its own model, beyond chance",
        "no_worse": "a loss larger than the margin is ruled out",
        "loses": "worse than its own model, beyond chance",
        "cannot_say": "not enough evidence",
    }
)

MODELS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "federated": ("Federated", "trained by all sites together"),
        "personalised": ("Personalised", "what each site made of the federated model"),
        "local": ("Local", "each site\N{RIGHT SINGLE QUOTATION MARK}s own model, on its own patients"),
        "ensemble": ("Ensemble", "the mean of all local models"),
        "best_single": ("Best single site", "one site\N{RIGHT SINGLE QUOTATION MARK}s model, used everywhere"),
        "pooled": ("Pooled", "all data in one place; possible in simulation only"),
    }
)
"""Name and description of each model that a result can hold, in the order in which pages list them."""

USED: Mapping[str, str] = MappingProxyType({"federated": "the federated model", "personalised": "the personalised federated model"})
"""What the model is called that a hospital will use, and that verdicts are about."""

PLACES: Mapping[str, str] = MappingProxyType(
    {
        "accept": "the site declined the task",
        "answer": "the site could not compute an answer",
        "release": "the site held its answer back",
        "admit": "the coordinator did not admit the answer",
        "deadline": "absent: no answer in time",
    }
)
"""What it means that a site's part of a round ended at each place."""

STOPPED: Mapping[str, str] = MappingProxyType(
    {
        "target": "target reached",
        "rounds": "all planned rounds",
        "patience": "no further improvement",
        "budget": "budget used up",
        "stopped": "stopped by hand",
        "quorum": "too few sites",
        "rolled_back": "rolled back",
    }
)

METRICS: Mapping[str, str] = MappingProxyType(
    {
        "quadratic_kappa": "Quadratic kappa",
        "auroc": "AUROC",
        "auprc": "AUPRC",
        "accuracy": "Accuracy",
        "balanced_accuracy": "Balanced accuracy",
        "f1": "F1",
        "sensitivity": "Sensitivity",
        "specificity": "Specificity",
        "brier": "Brier score",
        "calibration_error": "Calibration error",
        "loss": "Loss",
        "rmse": "Root mean squared error",
        "mae": "Mean absolute error",
        "r2": "R²",
        "deviance": "Poisson deviance",
        "pinball": "Pinball loss",
        "quantile_gap": "Quantile gap",
        "below": "Share below",
        "calibration_gap": "Calibration gap",
        "coverage": "Coverage",
        "half_width": "Half-width of the interval",
        "bound": "Added to the bound",
    }
)
"""Name of each metric, in the order in which pages list them."""

METRIC_MEANS: Mapping[str, str] = MappingProxyType(
    {
        "auroc": "chance that a positive case scores above a negative one; 0.5 is guessing, 1 is perfect",
        "auprc": "mean precision over all thresholds; guessing gives the share of positives, 1 is perfect",
        "accuracy": "share that is right at probability 0.5",
        "balanced_accuracy": "mean of sensitivity and specificity at probability 0.5",
        "sensitivity": "share of the positives that are flagged",
        "specificity": "share of the negatives that are not flagged",
        "brier": "mean squared error of the probability; 0 is perfect",
        "calibration_error": "mean gap between predicted and observed risk, in ten groups; 0 is perfect",
        "loss": "mean negative log of the probability given to what was true; 0 is perfect",
        "rmse": "square root of the mean squared error; 0 is perfect, large errors count most",
        "mae": "mean size of the error; 0 is perfect",
        "r2": "share of the spread that the model explains; 0 is predicting the mean for everybody, 1 is perfect",
        "deviance": "how far counts lie from their predicted means, by the Poisson distribution; 0 is perfect",
        "pinball": "mean cost of lying beside the quantile; smaller is better",
        "quantile_gap": "how far the share below the prediction is from the quantile asked for; 0 is perfect",
        "below": "share of the rows that lie at or below the prediction",
        "calibration_gap": "mean gap between predicted and observed values, in ten groups; 0 is perfect",
        "coverage": "share of the patients within a prediction interval that the validation patients of the same sites chose",
        "half_width": "how far that interval reaches to each side",
        "bound": "what validation rows add to the prediction to make it a bound",
    }
)
"""What each metric is, in one short line."""

MEANS_OF_GRADES: Mapping[str, str] = MappingProxyType(
    {
        "quadratic_kappa": "agreement with the true grade, an error of two grades counted four times; 0 is chance, 1 is perfect",
        "auroc": "chance that a referable patient scores above another; 0.5 is guessing, 1 is perfect",
        "auprc": "mean precision over all thresholds for referable patients; guessing gives their share, 1 is perfect",
        "accuracy": "share whose grade is right",
        "balanced_accuracy": "share whose grade is right, worked out by grade and averaged",
        "sensitivity": "share of the referable patients who are flagged",
        "specificity": "share of the others who are not flagged",
        "brier": "mean squared error of the probability of being referable; 0 is perfect",
        "mae": "mean number of grades between prediction and truth; 0 is perfect",
    }
)
"""What a metric is where grades are predicted, if that is another thing than elsewhere."""

_SMALL = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")


def curled(text: str) -> str:
    """Return a text with the apostrophe that is printed in place of the one that is typed."""
    return text.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")


def metric(name: str) -> str:
    """Return a metric's name as people write it.

    Example:
        >>> metric("auroc"), metric("calibration_error"), metric("root_mean_square")
        ('AUROC', 'Calibration error', 'Root mean square')
    """
    return METRICS.get(name) or name.replace("_", " ").capitalize()


def means(name: str, question: str = "") -> str:
    """Return what a metric is, in one short line; nothing where there are no words for it.

    Args:
        name: of the metric.
        question: kind of the study's question.
    """
    return (MEANS_OF_GRADES.get(name) if question == "ordinal" else None) or METRIC_MEANS.get(name, "")


def in_sentence(name: str) -> str:
    """Return a metric's name as it stands within a sentence: no capital unless it is an abbreviation or a person's name."""
    label = metric(name)
    return label if name in {"auroc", "auprc", "brier", "f1", "r2", "deviance"} else label.lower()


def number(value: float | None, places: int = 3, signed: bool = False) -> str:
    """Return a number with a fixed count of decimal places, or a dash for none.

    Example:
        >>> number(0.9314), number(0.02, signed=True), number(-0.0001, signed=True)
        ('0.931', '+0.020', '0.000')
    """
    if value is None:
        return NONE
    text = f"{abs(value):,.{places}f}"
    if float(text.replace(",", "")) == 0:
        return text
    return (MINUS if value < 0 else "+" if signed else "") + text


def whole(value: int) -> str:
    """Return an integer with a thin space between thousands, as clinical journals print it.

    Example:
        >>> whole(569), whole(12345).replace(chr(0x202f), "_")
        ('569', '12_345')
    """
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def spelled(count: int, capital: bool = False) -> str:
    """Return a small count as a word and a larger one in digits."""
    text = _SMALL[count] if count < len(_SMALL) else whole(count)
    return text.capitalize() if capital else text


def size(count: int) -> str:
    """Return a count of bytes in the unit that fits, to about three digits.

    Example:
        >>> [size(n).replace(chr(0xa0), " ") for n in (0, 999, 1500, 123_456, 999_999, 7_654_321)]
        ['0 bytes', '999 bytes', '1.5 kB', '123 kB', '1.0 MB', '7.7 MB']
    """
    if count < 1000:
        return f"{count}{GAP}bytes"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.5 or unit == "TB":
            return f"{value:.1f}{GAP}{unit}" if value < 99.95 else f"{value:.0f}{GAP}{unit}"
    raise AssertionError("the last unit takes every size")


def times(part: int, whole_: int) -> str:
    """Return how large one size is against another, in words.

    Example:
        >>> [times(a, 1000).replace(chr(0xa0), " ") for a in (0, 12, 450, 1000, 3200, 25_000)]
        ['0 %', '1.2 %', '45 %', '100 %', '3.2 times', '25 times']
    """
    if whole_ <= 0:
        return NONE
    ratio = part / whole_
    if ratio >= 1.995:
        return f"{ratio:.1f}{GAP}times" if ratio < 9.95 else f"{ratio:,.0f}{GAP}times"
    percent = 100 * ratio
    return f"{percent:.1f}{GAP}%" if 0 < percent < 9.95 else f"{percent:.0f}{GAP}%"


def lasted(seconds: float) -> str:
    """Return a duration as people say it.

    Example:
        >>> [lasted(s).replace(chr(0xa0), " ") for s in (0.034, 41.26, 605, 7384)]
        ['0.03 s', '41.3 s', '10 min 5 s', '2 h 3 min']
    """
    if seconds < 1:
        return f"{seconds:.2f}{GAP}s"
    if seconds < 59.95:
        return f"{seconds:.1f}{GAP}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}{GAP}min {rest}{GAP}s"
    return f"{minutes // 60}{GAP}h {minutes % 60}{GAP}min"


def listed(names: Sequence[str], most: int = 6) -> str:
    """Return names as a list in a sentence; beyond `most` the rest is counted.

    Example:
        >>> listed(["a"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2)
        ('a', 'a, b and c', 'a, b and 2 others')
    """
    if len(names) > most + 1:
        return f"{', '.join(names[:most])} and {len(names) - most} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def spans(rounds: Iterable[int]) -> str:
    """Return round numbers with runs drawn together.

    Example:
        >>> spans([3, 1, 2, 7, 9, 8]).replace(chr(0x2013), "-")
        '1-3, 7-9'
    """
    runs: list[list[int]] = []
    for one in sorted(set(rounds)):
        if runs and one == runs[-1][1] + 1:
            runs[-1][1] = one
        else:
            runs.append([one, one])
    return ", ".join(str(first) if first == last else f"{first}{NONE}{last}" for first, last in runs)


def shown(value: Any) -> str:
    """Return any JSON value in a few plain characters, for tables of settings and machines."""
    if value is None:
        return NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, int):
        return whole(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {shown(one)}" for key, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(one) for one in value)
    return str(value)
