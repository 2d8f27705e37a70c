"""Hold statistics over hospitals against the same figures from all rows in one place.

Heart disease at its four hospitals (UCI, CC BY 4.0) against numpy; NCCTG lung cancer by institution against lifelines, whose own package
brings the data (Loprinzi et al., J. Clin. Oncol. 1994). Institutions are 18, half of them with fewer than ten patients. One patient has no
institution and is left out on both sides.
"""

from __future__ import annotations

import csv
import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.rivals.venvs import prepare
from wardround import simulate
from wardround.study.protocol.load import read_protocol

HOSPITALS = ("cleveland", "hungarian", "switzerland", "va")
COLUMNS = ("age", "sex", "cp", "trestbps", "chol", "fbs", "restecg", "thalach", "exang", "oldpeak", "slope", "ca", "thal", "disease")
HEART: Mapping[str, Any] = {
    "age": ("a", 0, 120), "sex": "01", "cp": "1234", "trestbps": ("mm[Hg]", 0, 300), "chol": ("mg/dL", 0, 700), "fbs": "01",
    "restecg": "012", "thalach": ("/min", 30, 250), "exang": "01", "oldpeak": ("mm", -5, 10), "slope": "123", "ca": "0123",
    "thal": "367", "disease": "01",
}  # fmt: skip
LUNG: Mapping[str, Any] = {"time": ("d", 0, 1200), "status": "01", "age": ("a", 0, 120), "sex": "12", "wt.loss": ("[lb_av]", -100, 200)}
TABLES = {
    "heart": """
[[phases]]
name = "describe"
kind = "describe"
[[phases]]
name = "histogram"
kind = "histogram"
[[phases]]
name = "quantiles"
kind = "quantiles"
[[phases]]
name = "crosstab"
kind = "crosstab"
rows = "cp"
columns = "disease"
[[phases]]
name = "correlation"
kind = "correlation"
""",
    "lung": """
[[phases]]
name = "describe"
kind = "describe"
[[phases]]
name = "survival"
kind = "survival"
time = "time"
event = "status"
happened = "1"
until = 1200
groups = "sex"
""",
}
LIFELINES = """
import json, sys
import numpy as np
from lifelines import KaplanMeierFitter
from lifelines.datasets import load_lung
from lifelines.statistics import logrank_test
lung = load_lung()
lung = lung[lung.inst.notna()]
found = {"rows": json.loads(lung.to_json(orient="records")), "curves": {}}
for sex in (1, 2):
    part = lung[lung.sex == sex]
    curve = KaplanMeierFitter().fit(part.time, part.status).survival_function_
    found["curves"][str(sex)] = {str(int(time)): float(value) for time, value in zip(curve.index, curve.iloc[:, 0])}
one, two = lung[lung.sex == 1], lung[lung.sex == 2]
test = logrank_test(one.time, two.time, one.status, two.status)
found["log_rank"], found["p"] = float(test.test_statistic), float(test.p_value)
json.dump(found, sys.stdout)
"""

Rows = dict[str, list[dict[str, str]]]


def figure(what: str, value: float, unit: str, n: int) -> dict[str, Any]:
    """Return one figure in the benchmarks' form, not rounded: errors are small."""
    return {"what": what, "value": float(value), "unit": unit, "n": n, "seeds": [], "low": float(value), "high": float(value)}


def study(name: str, fields: Mapping[str, Any], sites: int, combine: str, least: int) -> str:
    """Return the text of a study file."""
    lines = ['kind = "statistics"', f'study = "{name}"', "[question]", 'title = "Benchmark"', 'purpose = "Compare with pooled figures."']
    lines += ["[parties]", 'coordinator = "benchmark"', "[contract.fields]"]
    for field, one in fields.items():
        codes = f'{{ type = "code", codes = {json.dumps(list(one))} }}' if isinstance(one, str) else ""
        number = "" if codes else f'{{ type = "number", unit = "{one[0]}", range = [{one[1]}, {one[2]}] }}'
        lines.append(f'"{field}" = {codes or number}')
    lines += [TABLES[name], "[bounds]", f"sites = {sites}", "examples = 400", "[rounds]", f"quorum = {sites}", f'combine = "{combine}"']
    return "\n".join([*lines, "[privacy]", "counts = true", f"smallest_count = {least}", ""])


def measured(name: str, fields: Mapping[str, Any], rows: Rows, combine: str, least: int) -> dict[str, Any]:
    """Return the tables of a study over these sites."""
    with tempfile.TemporaryDirectory() as place:
        folder, files = Path(place), []
        for site, listed in rows.items():
            with (folder / f"{site}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, ["patient", *fields])
                writer.writeheader()
                writer.writerows({"patient": f"{site}-{number}", **row} for number, row in enumerate(listed))
            files.append(folder / f"{site}.toml")
            files[-1].write_text(f'name = "{site}"\n[source]\nkind = "table"\npath = "{site}.csv"\n')
        text = study(name, fields, len(rows), combine, least)
        found: dict[str, Any] = simulate(read_protocol(text, name), files, folder / "run").result["statistics"]
        return found


def heart(data: Path) -> Rows:
    """Return the four hospitals' rows, empty where a value is missing."""
    found: Rows = {}
    for name in HOSPITALS:
        with (data / "heart_disease_uci" / f"processed.{name}.data").open() as file:
            listed = [["" if one == "?" else f"{float(one):g}" for one in row] for row in csv.reader(file) if row]
        found[name] = [{**dict(zip(COLUMNS, row, strict=True)), "disease": str(int(float(row[13]) > 0))} for row in listed]
    return found


def pooled(fields: Mapping[str, Any], rows: Rows) -> dict[str, np.ndarray]:
    """Return all rows as columns: numbers with NaN, codes as their place with -1."""
    everyone = [row for listed in rows.values() for row in listed]
    return {
        name: np.array([one.index(row[name]) if row[name] else -1 for row in everyone])
        if isinstance(one, str)
        else np.array([float(row[name]) if row[name] else np.nan for row in everyone])
        for name, one in fields.items()
    }


def known(column: np.ndarray) -> np.ndarray:
    """Return the values that are not missing."""
    return column[column >= 0] if column.dtype.kind == "i" else column[~np.isnan(column)]


def pairs(tables: Mapping[str, Any], fields: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> Iterator[tuple[Any, int]]:
    """Yield each count that was told (a number or a text in its place) beside the pooled one."""
    for one in tables["describe"]["fields"]:
        there = len(known(columns[one["field"]]))
        yield one["known"]["count"], there
        yield one["missing"]["count"], len(columns[one["field"]]) - there
    for one in tables["histogram"]["fields"]:
        values, cells = known(columns[one["field"]]), one["cells"]
        edges = np.array([cell["from"] for cell in cells] + [cells[-1]["to"]]) if "from" in cells[0] else np.arange(len(cells) + 1) - 0.5
        yield from zip((cell["count"] for cell in cells), np.histogram(values, edges)[0].tolist(), strict=True)
    rows, across = (columns[tables["crosstab"][axis]["field"]] for axis in ("rows", "columns"))
    for r, line in enumerate(tables["crosstab"]["cells"]):
        for c, cell in enumerate(line):
            at = [side if side < size - 1 else -1 for side, size in ((r, len(tables["crosstab"]["cells"])), (c, len(line)))]
            yield cell["count"], int(np.sum((rows == at[0]) & (across == at[1])))


def remainders(tables: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> Iterator[int]:
    """Yield what a reader gets by subtracting the counts shown from totals that are known: of all rows, of a field, of a line."""
    everyone = len(next(iter(columns.values())))
    lines: dict[str, list[Any]] = {}
    for one in tables["describe"]["fields"]:
        yield everyone - _told(one["known"]["count"], one["missing"]["count"])
    for one in tables["histogram"]["fields"]:
        counts = [*(cell["count"] for cell in one["cells"]), one["missing"]["count"]]
        lines[one["field"]] = counts
        yield everyone - _told(*counts)
    cells = [[cell["count"] for cell in line] for line in tables["crosstab"]["cells"]]
    for axis, crossed in (("rows", cells), ("columns", [list(line) for line in zip(*cells, strict=True)])):
        for total, line in zip(lines[tables["crosstab"][axis]["field"]], crossed, strict=True):
            if isinstance(total, int):
                yield total - _told(*line)


def _told(*counts: Any) -> int:
    return sum(one for one in counts if isinstance(one, int))


def moments(tables: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """Return the largest relative error of a mean or deviation, and the largest error of a correlation; one not told is all wrong."""
    worst, apart = 0.0, 0.0
    for one in tables["describe"]["fields"]:
        values = columns[one["field"]]
        if values.dtype.kind == "f":
            values = known(values)
            for got, true in ((one["mean"], values.mean()), (one["deviation"], values.std(ddof=1))):
                worst = max(worst, 1.0 if got is None else abs(got - true) / abs(true))
    for one in tables["correlation"]["pairs"]:
        x, y = (columns[name] for name in one["fields"])
        both = ~np.isnan(x) & ~np.isnan(y)
        apart = max(apart, 2.0 if one["r"] is None else abs(one["r"] - np.corrcoef(x[both], y[both])[0, 1]))
    return float(worst), float(apart)


def outside(tables: Mapping[str, Any], columns: Mapping[str, np.ndarray]) -> tuple[int, int, float]:
    """Return how many quantiles lie outside the bin told, of how many, and the widest bin as a share of its first one's range."""
    wrong, count, widest = 0, 0, 0.0
    for one in tables["quantiles"]["fields"]:
        span = HEART[one["field"]][2] - HEART[one["field"]][1]
        for quantile in one["quantiles"]:
            true = np.quantile(known(columns[one["field"]]), quantile["at"], method="inverted_cdf")
            wrong += not (quantile["from"] is not None and quantile["from"] <= true <= quantile["to"])
            count, widest = count + 1, max(widest, quantile["width"] / span)
    return wrong, count, widest


def curves(tables: Mapping[str, Any], truth: Mapping[str, Any]) -> tuple[float, int]:
    """Return the largest error of a Kaplan-Meier curve at a time shown, and how many times are shown; a curve without any is all wrong."""
    apart, count = 0.0, 0
    for group in tables["survival"]["groups"]:
        apart = apart if group["points"] else 1.0
        for one in group["points"]:
            apart = max(apart, abs(one["survival"] - truth["curves"][group["group"]][str(int(one["time"]))]))
            count += 1
    return apart, count


def run(data: Path, quick: bool) -> tuple[list[dict[str, Any]], str]:
    """Return the figures and a table of them."""
    figures: list[dict[str, Any]] = []
    rows = heart(data)
    columns, patients = pooled(HEART, rows), sum(len(listed) for listed in rows.values())
    runs = {(combine, least): measured("heart", HEART, rows, combine, least) for combine in ("plain", "secure") for least in (1, 10)}

    def add(what: str, value: float, unit: str, n: int) -> None:
        figures.append(figure(what, value, unit, n))

    for combine in ("plain", "secure"):
        tables = runs[combine, 1]
        told = list(pairs(tables, HEART, columns))
        add(f"heart, {combine}: counts other than pooled", sum(got != true for got, true in told), "counts", len(told))
        errors, wrong = moments(tables, columns), outside(tables, columns)
        add(f"heart, {combine}: worst relative error of a mean or deviation", errors[0], "of the value", patients)
        add(f"heart, {combine}: worst error of a correlation", errors[1], "r", patients)
        add(f"heart, {combine}: quantiles outside the bin told", wrong[0], "quantiles", wrong[1])
        add(f"heart, {combine}: widest bin of a quantile", wrong[2], "of the range", wrong[1])
    add("heart: plain and secure tables differ", int(_bare(runs["plain", 1]) != _bare(runs["secure", 1])), "tables", patients)
    for combine in ("plain", "secure"):
        told = list(pairs(runs[combine, 10], HEART, columns))
        shown = [(got, true) for got, true in told if isinstance(got, int)]
        add(f"heart, {combine}, k = 10: counts of 1 to 9 shown", sum(0 < got < 10 for got, _ in shown), "counts", len(told))
        taken = list(remainders(runs[combine, 10], columns))
        add(f"heart, {combine}, k = 10: differences of 1 to 9", sum(0 < one < 10 for one in taken), "differences", len(taken))
        add(f"heart, {combine}, k = 10: counts told in full", sum(got == true for got, true in shown), "counts", len(told))
    with tempfile.TemporaryDirectory() as venvs:
        figures += _lung(Path(venvs))
    return figures, "\n".join(f"{one['what']:62} {one['value']:<12.4g} {one['unit']} (n {one['n']})" for one in figures)


def _lung(venvs: Path) -> list[dict[str, Any]]:
    python, _ = prepare("lifelines", venvs)
    done = subprocess.run([str(python), "-c", LIFELINES], check=True, stdout=subprocess.PIPE, text=True)
    truth = json.loads(done.stdout)
    rows: Rows = {}
    for row in truth["rows"]:
        cells = {name: "" if row[name] is None else f"{row[name]:g}" for name in LUNG}
        rows.setdefault(f"institution-{row['inst']:g}", []).append(cells)
    patients, small = len(truth["rows"]), sum(len(listed) < 10 for listed in rows.values())
    figures = [
        figure("lung: institutions", len(rows), "sites", patients),
        figure("lung: institutions under 10 patients", small, "sites", 18),
    ]
    for combine, least in (("plain", 1), ("secure", 1), ("secure", 10)):
        tables = measured("lung", LUNG, rows, combine, least)
        apart, shown = curves(tables, truth)
        test = tables["survival"]["log_rank"]
        start = f"lung, {combine}, k = {least}"
        figures.append(figure(f"{start}: worst error of Kaplan-Meier", apart, "share", shown))
        for name, key, true in (("chi-square", "chi_square", truth["log_rank"]), ("p", "p", truth["p"])):
            error = 1.0 if test[key] is None else abs(test[key] - true) / true
            figures.append(figure(f"{start}: relative error of log-rank {name}", error, "of the value", patients))
        figures.append(figure(f"{start}: times shown", shown, "times", patients))
        figures.append(figure(f"{start}: smallest step shown or left", _smallest(tables), "patients", shown))
    return figures


def _smallest(tables: Mapping[str, Any]) -> int:
    """Return the fewest events, or ends of observation, of a stretch between two times shown, or after the last, those of none aside.

    0 where no count is shown, so that a study that hides all does not pass.
    """
    found: list[int] = []
    for group in tables["survival"]["groups"]:
        points: Sequence[Mapping[str, Any]] = group["points"]
        if not isinstance(group["rows"], int):
            continue
        left = {"events": group["events"], "censored": group["rows"] - group["events"]}
        for key, total in left.items():
            found += [one[key] for one in points] + [total - sum(one[key] for one in points)]
    return min((one for one in found if one), default=0)


def _bare(tables: Mapping[str, Any]) -> str:
    return json.dumps(tables, sort_keys=True)
