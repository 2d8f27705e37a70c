"""Hold a site's rows against the contract, and make of them the dataset that a worker sees.

Everything is checked before anything is refused: the report lists all findings, each with a count and a remedy. Rows keep the order of
their file and none is dropped. What becomes of a row depends on its own cells and its patient's identifier alone, so altering a test row
moves nothing of any other row.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import polars as pl

from wardround.data.cells import Cells, as_seconds, as_text, tidy, without
from wardround.data.fields import column_at, lacks, markers, read_field, without_values
from wardround.data.images import Pictured, Place, find_repeated, read_images, summarised_images
from wardround.data.notes import completed, keeps, noted
from wardround.data.report import CheckReport, FieldSummary, Found, shown, summarised
from wardround.data.site_file import SiteFile
from wardround.data.splits import by_column, by_hash, numbered, positions, renumbered, stated_roles
from wardround.study.dataset import ROLES, Dataset
from wardround.study.findings import nearest
from wardround.study.interfaces import Source
from wardround.study.protocol import Contract, Protocol

# Test patients in all, and of each class; fewer allow no verdict (DESIGN section 5).
ENOUGH, OF_A_CLASS = 30, 5
_ANYWHERE = Place()


@dataclass(frozen=True)
class Checked:
    """Hold what a check came to.

    Attributes:
        dataset: the rows in the contract's terms; None when the report has errors.
        report: all that was found.
    """

    dataset: Dataset | None
    report: CheckReport


def check(frame: pl.DataFrame, site: SiteFile, protocol: Protocol, source: Source | None = None, place: Place = _ANYWHERE) -> Checked:
    """Check a site's rows and put them into the contract's fields, units and codes.

    Args:
        frame: the source's rows under its own column names.
        site: maps columns to fields.
        protocol: has the contract, the bounds and the shares of the split.
        source: gives the images that a row names.
        place: where images are read to, and how rows are named.

    Raises:
        StoreError: the disk has no room for the images.
        MissingExtra: what reads such images is not installed.
    """
    contract, found = protocol.contract, Found()
    _strange_keys(site, contract, found)
    _size(frame, site, protocol, found)
    specials = [name for name in (contract.patient, contract.time) if name is not None]
    may_lack = {name for name, field in contract.fields.items() if field.missing in ("count", "unknown")} - (
        {*contract.inputs} if protocol.evaluates else set()
    )
    lacking = [name for name in contract.fields if name in may_lack and lacks(frame, site, name, found)]
    wanted = [name for name in [*specials, *contract.fields] if name not in lacking]
    local = {name: column_at(frame, site.column_of(name), name, found) for name in wanted}
    there = {name: column for name, column in local.items() if column is not None}
    cells: dict[str, Cells] = {}
    pictures: dict[str, Pictured] = {}
    columns: dict[str, np.ndarray] = {}
    summaries: list[FieldSummary] = []
    patient, roles, time = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int8), None
    if len(frame):
        for name, field in contract.fields.items():
            if name in lacking:
                cells[name] = without_values(field, len(frame))
            if name in there and field.shape is None:
                cells[name] = read_field(name, field, there[name], site, found)
            elif name in there and (seen := read_images(name, field, there[name], source, site, found, place)) is not None:
                pictures[name] = seen
        cells = completed(contract, cells, len(frame))
        time = _time(there, site, contract, found)
        patient, roles = _patients(frame, there, site, protocol, found)
        summaries = [summarised(name, contract.fields[name], one, patient) for name, one in cells.items()]
        summaries += [summarised_images(name, contract.fields[name], one, patient) for name, one in pictures.items()]
        columns = {name: one.values for name, one in cells.items()} | {name: one.values for name, one in pictures.items()}
        for name, one in pictures.items():
            find_repeated(name, one, patient, roles, [columns[label] for label in contract.targets if label in columns], found, place)
        _duplicates(list(there.values()), contract, found)
        if protocol.trains:
            _judgeable(columns, patient, roles, site, protocol, found)
        elif protocol.evaluates:
            _testable(columns, patient, roles, protocol, found)
    found.forgive(name for name, field in contract.fields.items() if keeps(field))
    parts = {role: int((roles == index).sum()) for index, role in enumerate(ROLES)} if len(roles) else {}
    report = CheckReport(site.name, len(frame), parts, found.listed(), tuple(summaries))
    if report.errors:
        return Checked(None, report)
    notes = noted(contract, site, cells)
    return Checked(Dataset(columns, renumbered(patient, roles), roles[patient], time, notes=notes), report)


def _strange_keys(site: SiteFile, contract: Contract, found: Found) -> None:
    known = [*contract.fields, *(name for name in (contract.patient, contract.time) if name is not None)]
    for name in site.map:
        if name not in known:
            found.error("", f"{site.place('map', name)}: the contract has no such field.", nearest(name, known))


def _size(frame: pl.DataFrame, site: SiteFile, protocol: Protocol, found: Found) -> None:
    rows, most = len(frame), protocol.bounds.examples
    if not rows:
        found.error("", f"{site.name}: the source has no rows.", "Check the source, or leave this site out.", 0)
    if rows > most:
        sentence = f"{site.name}: has {shown(rows)} rows, and the protocol allows {most} examples at one site."
        found.error("", sentence, "Only a protocol with a larger bounds.examples could take them all.", rows)


def _time(there: dict[str, pl.Series], site: SiteFile, contract: Contract, found: Found) -> np.ndarray | None:
    """Return seconds since 1970, NaN where missing; None when the contract has no time."""
    name = contract.time
    if name is None or name not in there:
        return None
    cells = as_seconds(without(there[name], markers(site, name)))
    unreadable, missing = int(cells.unreadable.sum()), int(cells.missing.sum())
    if unreadable:
        sentence = f"{name}: {shown(unreadable)} cells of column {there[name].name!r} hold something else than a time."
        found.error(name, sentence, "Write times as 2024-03-01 or 2024-03-01T12:30:00.", unreadable)
    if missing:
        found.warn(name, f"{name}: is missing in {shown(missing)} rows.", "Complete it where you can.", missing)
    return cells.values


def _patients(
    frame: pl.DataFrame, there: dict[str, pl.Series], site: SiteFile, protocol: Protocol, found: Found
) -> tuple[np.ndarray, np.ndarray]:
    """Return the patient of each row, int64 [N], and the part of each patient, int8 [P]; no parts when the patients are not known."""
    name = protocol.contract.patient
    if name is None:
        remedy = "Without patient identifiers every claim is image-level: rows of one patient may stand in two parts."
        found.warn("", f"{site.name}: each row counts as a patient of its own.", remedy)
        identifiers = [f"{site.name}#{row}" for row in range(len(frame))]
    elif name in there:
        identifiers = _identifiers(without(there[name], markers(site, name)), name, found)
    else:
        return np.zeros(len(frame), dtype=np.int64), np.zeros(0, dtype=np.int8)
    patient, once = numbered(identifiers)
    if protocol.evaluates and site.split is None:
        return patient, np.full(len(once), ROLES.index("test"), dtype=np.int8)
    u = positions(once, protocol.study, protocol.evaluation.seed)
    if site.split is None:
        return patient, by_hash(u, protocol.evaluation)
    return patient, _stated(frame, patient, u, site, protocol, found)


def _identifiers(column: pl.Series, name: str, found: Found) -> list[str]:
    """Return the patient of each row as text, "" where there is none."""
    texts = as_text(column).fill_null("")
    absent = int((texts == "").sum())
    if absent:
        sentence = f"{name}: {shown(absent)} rows have no patient identifier."
        found.error(name, sentence, "Complete it; rows of one patient must never stand in two parts.", absent)
    listed: list[str] = texts.to_list()
    return listed


def _stated(frame: pl.DataFrame, patient: np.ndarray, u: np.ndarray, site: SiteFile, protocol: Protocol, found: Found) -> np.ndarray:
    """Return the part of each patient as the site's own column states it."""
    split = site.split
    column = None if split is None else column_at(frame, split.column, "split.column", found)
    if split is None or column is None:
        return by_hash(u, protocol.evaluation)
    meaning = {tidy(value): role for role in ROLES for value in getattr(split, role)}
    stated = stated_roles(as_text(column).to_list(), meaning)
    unknown = int((stated < 0).sum())
    if unknown:
        remedy = "List every value that the column has as train, validation or test."
        found.error("split", f"{site.place('split')}: {shown(unknown)} rows name none of the parts.", remedy, unknown)
    carve = 0.0 if split.validation or protocol.evaluates else protocol.evaluation.validation
    roles, torn = by_column(stated, patient, u, carve)
    if torn:
        remedy = "Put all rows of a patient into one part."
        found.error("split", f"{site.place('split')}: {shown(torn)} patients stand in two parts.", remedy, torn)
    return roles


def _duplicates(columns: list[pl.Series], contract: Contract, found: Found) -> None:
    # Two fields may be read from one column, so the frame's own names cannot serve.
    rows = pl.DataFrame([column.alias(str(index)) for index, column in enumerate(columns)])
    repeated = len(rows) - rows.n_unique() if columns else 0
    if repeated:
        whose = "of the same patient " if contract.patient is not None else ""
        sentence = f"{shown(repeated)} rows {whose}repeat an earlier row in every field."
        found.warn("", sentence, "Look whether they were exported twice.", repeated)


def _judgeable(
    columns: dict[str, np.ndarray], patient: np.ndarray, roles: np.ndarray, site: SiteFile, protocol: Protocol, found: Found
) -> None:
    """Refuse a site that has no patients to train on, and warn of what its patients cannot show."""
    if not len(roles):
        return
    trained, validated, tested = (int((roles == ROLES.index(role)).sum()) for role in ("train", "validation", "test"))
    if tested < ENOUGH:
        sentence = f"Fewer than {ENOUGH} patients are in the test part, and that allows no verdict."
        found.warn("", sentence, "The site can train, but its result will read 'cannot say'.", tested)
    if not trained:
        remedy = "Bring more patients, or correct [split] in the site file."
        found.error("", "No patient is in the training part, so nothing can be learnt here.", remedy, 0)
        return
    if not validated:
        found.warn("", "No patient is in the validation part.", "The site can train, but it has no say in which model is kept.", 0)
    labels = {name: columns[name] for name in protocol.contract.targets if name in columns}
    for name, label in labels.items():
        _distinguishable(name, label, patient, roles, site, protocol, found)
    taught = roles[patient] == ROLES.index("train")
    if protocol.contract.labels and len(labels) == len(protocol.contract.labels):
        silent = np.all([label < 0 for label in labels.values()], axis=0)
        if bool(np.all(silent[taught])):
            remedy = "Bring rows with an answer, or correct [split] or [map] in the site file."
            found.error("", "In no row of the training part any label is known, so nothing can be learnt here.", remedy)
        elif bool(np.any(silent)):
            sentence = f"In {shown(int(silent.sum()))} rows no label is known at all."
            found.warn("", sentence, "They teach and test nothing; leave them out, or complete them where you can.", int(silent.sum()))


def _distinguishable(
    name: str, label: np.ndarray, patient: np.ndarray, roles: np.ndarray, site: SiteFile, protocol: Protocol, found: Found
) -> None:
    """Warn where all rows have the same class of a label, or too few patients of the test part have one of its classes."""
    codes, tested = protocol.contract.fields[name].codes, int((roles == ROLES.index("test")).sum())
    known, alike = (~np.isnan(label), "value") if codes is None else (label >= 0, "class")
    if not np.any(known):
        return  # which the reading of the field has said
    everyone = np.ones(len(patient), dtype=bool)
    for part, rows in (("the site", everyone), ("its training part", roles[patient] == ROLES.index("train"))):
        if len(np.unique(label[rows & known])) == 1:
            sentence = f"{name}: all rows of {part} have the same {alike}."
            found.warn(name, sentence, "The site can train, but its result may read 'cannot say'.")
            return
    if codes is None:
        return
    test = roles[patient] == ROLES.index("test")
    rare = [code for number, code in enumerate(codes) if len(np.unique(patient[test & (label == number)])) < OF_A_CLASS]
    if rare and tested >= ENOUGH:
        listed, wanted = ", ".join(map(repr, rare)), math.ceil(OF_A_CLASS / protocol.evaluation.test)
        sentence = f"{name}: too few patients of the test part have {listed}; a verdict needs {OF_A_CLASS} of each class."
        more = "" if site.split else f"; as a rule about {wanted} of each class in all parts together are enough"
        found.warn(name, sentence, f"The site can train, but its result will read 'cannot say'{more}.")


def _testable(columns: dict[str, np.ndarray], patient: np.ndarray, roles: np.ndarray, protocol: Protocol, found: Found) -> None:
    """Refuse a site that has no patients to test a model on, and warn of what they cannot show."""
    if not len(roles):
        return
    tested = roles[patient] == ROLES.index("test")
    number, least = len(np.unique(patient[tested])), protocol.privacy.smallest_count
    if not number:
        found.error("", "No patient is in the test part, so nothing can be tested here.", "Bring more patients, or correct [split].", 0)
        return
    if least > 1 and int(tested.sum()) > number:
        remedy = "Bring one row a patient; or only a protocol with privacy.smallest_count = 1 could take them."
        found.error("", "A patient has several rows; counts are of rows here, and the protocol bounds patients.", remedy)
    if number < ENOUGH:
        found.warn(
            "", f"Fewer than {ENOUGH} patients are tested, and that allows no verdict.", "This site's verdict is 'cannot say'.", number
        )
    name = protocol.contract.label
    label, codes = columns.get(name), protocol.contract.fields[name].codes
    if label is None or codes is None:
        return
    counts = [len(np.unique(patient[tested & (label == place)])) for place in range(len(codes))]
    few = [code for code, count in zip(codes, counts, strict=True) if count < max(OF_A_CLASS, least)]
    if few:
        sentence = f"{name}: too few of the tested patients have {', '.join(map(repr, few))}."
        kept = "" if protocol.hides else f"; with fewer than {least} its sums stay here, since sums are plain"
        found.warn(name, sentence, f"A verdict needs {OF_A_CLASS} of each class{kept}.")
