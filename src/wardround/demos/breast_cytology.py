"""Write the Wisconsin breast-cytology set as five hospitals with different case mix: real data, 569 patients.

Each row describes the cell nuclei in one fine-needle aspirate of a breast mass. The set comes from one hospital; here its patients are
dealt out to five, so the hospitals are made up and the patients are not. Patients are put in an order by how abnormal their nuclei look,
with noise, and dealt from the mildest to the most severe: a screening centre sees few cancers, a university hospital sees many. The same
every time.

Source: Street, Wolberg and Mangasarian, Nuclear feature extraction for breast tumor diagnosis, 1993; the copy is the one that scikit-learn
carries, https://archive.ics.uci.edu/dataset/17 (CC BY 4.0).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from wardround.study.errors import MissingExtra, StoreError

HOSPITALS = {"screening": 75, "rural": 44, "district": 110, "city": 150, "university": 190}
"""Name and number of patients of each hospital, from the mildest case mix to the most severe."""

NOISE = 1.5
SEED = 569


@dataclass(frozen=True)
class Inputs:
    """Name the files that were written: a study file and one site file a hospital."""

    study: Path
    sites: tuple[Path, ...]


def write(folder: Path) -> Inputs:
    """Write `study.toml`, and for each hospital `<name>.toml` and `<name>.csv`, into a folder.

    Args:
        folder: made if it is not there.

    Raises:
        MissingExtra: scikit-learn, which carries the data, is not installed.
        StoreError: one of the files is there and says something else: somebody's own work is not written over.
    """
    names, values, malignant = _patients()
    order = by_severity(values)
    files = {"study.toml": resources.files(__package__).joinpath("breast_cytology.toml").read_text(encoding="utf-8")}
    first = 0
    for hospital, size in HOSPITALS.items():
        rows = np.sort(order[first : first + size])
        first += size
        german = hospital == "district"
        files[f"{hospital}.csv"] = _table(hospital, names, values[rows], malignant[rows], german)
        files[f"{hospital}.toml"] = _site_file(hospital, german)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        _put(folder / name, text)
    return Inputs(folder / "study.toml", tuple(folder / f"{hospital}.toml" for hospital in sorted(HOSPITALS)))


def by_severity(values: np.ndarray) -> np.ndarray:
    """Return int64 [N], the patients from the mildest to the most severe: by the mean of their standardised means, with noise.

    Args:
        values: float64 [N, 30]; the first ten are means over a patient's nuclei.
    """
    means = values[:, :10]
    severity = ((means - means.mean(axis=0)) / means.std(axis=0)).mean(axis=1)
    noise = np.random.Generator(np.random.Philox(SEED)).standard_normal(len(values))
    return np.argsort(severity + NOISE * noise, kind="stable")


def _patients() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the 30 measurements' names, their values float64 [569, 30], and who has cancer, bool [569]."""
    try:
        from sklearn.datasets import load_breast_cancer
    except ImportError as error:
        raise MissingExtra("The demo needs scikit-learn, which carries its data.", "pip install 'wardround[learn]'") from error
    found = load_breast_cancer()
    return [_field(str(name)) for name in found.feature_names], found.data, found.target == 0


def _field(name: str) -> str:
    """Return a field's name: "mean concave points" becomes "concave_points_mean"."""
    kinds = {"mean": "mean", "error": "se", "worst": "worst"}
    words = name.split()
    kind = next(word for word in (words[0], words[-1]) if word in kinds)
    words.remove(kind)
    return "_".join([*words, kinds[kind]])


def _put(path: Path, text: str) -> None:
    if path.exists():
        if path.read_text(encoding="utf-8") != text:
            raise StoreError(f"{path} has been changed.", "Run it with 'wardround simulate', or name another --out for the demo.")
        return
    path.write_text(text, encoding="utf-8", newline="")


def _table(hospital: str, names: list[str], values: np.ndarray, malignant: np.ndarray, german: bool) -> str:
    """Return one hospital's table as its own system would export it."""
    file = io.StringIO()
    table = csv.writer(file, delimiter=";" if german else ",", lineterminator="\n")
    table.writerow(["Fallnummer" if german else "case", "diagnosis", *names])
    for number, (row, cancer) in enumerate(zip(values, malignant, strict=True), start=1):
        cells = [format(value, ".6g") for value in row]
        cells = [cell.replace(".", ",") for cell in cells] if german else cells
        table.writerow([f"{hospital[:3]}-{number:03d}", "M" if cancer else "B", *cells])
    return file.getvalue()


def _site_file(hospital: str, german: bool) -> str:
    """Return the text of a hospital's site file."""
    dialect = 'separator = ";"                        # as German Excel writes it\ndecimal = ","\n' if german else ""
    column = '"Fallnummer"' if german else '"case"'
    return (
        f'name = "{hospital}"\n\n'
        f'[source]\nkind = "table"\npath = "{hospital}.csv"                 # relative to this file\n{dialect}\n'
        "[map]                                  # a field that is not listed is read from the column of its own name\n"
        f"patient = {column}\n"
        'diagnosis = { column = "diagnosis", codes = { B = "benign", M = "malignant" } }\n'
    )
