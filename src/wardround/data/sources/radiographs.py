"""Make up chest radiographs: lung fields, heart, ribs, spine and diaphragm, opacities in those who are ill, and devices. Synthetic.

They are for trying methods on hospitals that differ in ways that are known: scanner (gain, gamma, blur, noise, black and white exchanged),
prevalence, size and strength of the opacities, and devices (lines, pacemakers) that are more frequent in the ill at some hospitals and so
mislead a model that learns there. Nothing measured on them says anything about patients.

A row's image follows from seed, hospital and the row's number alone. Brightness is drawn as on a film that is read in negative: air dark,
bone bright.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import polars as pl
from pydantic import Field as Bound

from wardround.data.film import Case, Scanner, film
from wardround.data.sources.synthetic import Synthetic
from wardround.study.dataset import stored_as
from wardround.study.errors import DataError
from wardround.study.interfaces import Flaw, Source
from wardround.study.protocol import Contract, Field
from wardround.study.streams import Stream

_MOST_SPOTS = 4
_SPOTS = (0.4, 0.3, 0.2, 0.1)
_LUNG = 0.25  # what the squares of all radii come to where both lungs are about covered
_Share = Annotated[float, Bound(ge=0, le=1)]


@dataclass(frozen=True)
class Radiographs(Source):
    """Make up one hospital's chest radiographs, for a contract with one image of one channel in two dimensions.

    The label is a code whose first value means healthy: of two codes the last means ill, of more the n-th means n - 1 opacities (four at
    most); or a number, which then grows with the share of the lung that is opaque. Further fields called "opacity" and "device" tell, where
    they have two codes, what is in the image; all others are made up without regard to it.

    Attributes:
        patients: how many.
        images_per_patient: films of one patient share chest, illness and device.
        seed: of everything.
        hospital: sets hospitals with the same seed apart.
        prevalence: share of the ill.
        opacity: size of the opacities, 1 for ordinary ones, smaller is harder.
        contrast: how bright they are, 1 for ordinary ones.
        devices: share with a line or pacemaker among the healthy, and among the ill.
        gain: of the scanner: contrast around the middle grey, 1 for an ordinary one.
        gamma: of the scanner: below 1 brighter, above 1 darker.
        blur: of the scanner, as a share of the picture's width.
        noise: of the scanner, as a share of the intensity range.
        inverted: whether bone is dark.
    """

    synthetic = True

    patients: Annotated[int, Bound(ge=1, le=1_000_000)] = 500
    images_per_patient: Annotated[int, Bound(ge=1, le=100)] = 1
    seed: Annotated[int, Bound(ge=0, le=2**53 - 1)] = 0
    hospital: str = ""
    prevalence: Annotated[float, Bound(gt=0, lt=1)] = 0.4
    opacity: Annotated[float, Bound(ge=0.2, le=3)] = 1.0
    contrast: Annotated[float, Bound(ge=0, le=3)] = 1.0
    devices: tuple[_Share, _Share] = (0.1, 0.1)
    gain: Annotated[float, Bound(ge=0.2, le=3)] = 1.0
    gamma: Annotated[float, Bound(ge=0.3, le=3)] = 1.0
    blur: Annotated[float, Bound(ge=0, le=0.1)] = 0.0
    noise: Annotated[float, Bound(ge=0, le=0.5)] = 0.02
    inverted: bool = False

    def read(self, contract: Contract) -> pl.DataFrame:
        """Return a row for each image under the contract's own names: its number, its label, and whatever else the contract has.

        Raises:
            DataError: the contract has no such image.
        """
        image = next((name for name, field in contract.fields.items() if field.shape is not None), None)
        if image is None:
            raise DataError("The contract has no image.", 'Radiographs are for a contract with a field of type = "image".')
        _drawable(contract.fields[image])
        rows = self.patients * self.images_per_patient
        others = {name: field for name, field in contract.fields.items() if name != contract.label}
        rest = contract.model_copy(update={"fields": others, "label": ""})
        seed = Stream.public(self.seed).child("radiographs", self.hospital).integer("others") % 2**53
        frame = Synthetic(rows=rows, seed=seed, rows_per_patient=self.images_per_patient).read(rest)
        cases = [self._case(patient) for patient in range(self.patients)]
        of_row = [cases[row // self.images_per_patient] for row in range(rows)]
        told = {}
        if contract.label:
            told[contract.label] = _labels(contract.fields[contract.label], of_row)
        for name, true in (("opacity", [bool(case.spots) for case in of_row]), ("device", [case.device > 0 for case in of_row])):
            codes = others[name].codes if name in others else None
            if codes is not None and len(codes) == 2:
                told[name] = pl.Series([codes[one] for one in true], dtype=pl.String)
        frame = frame.with_columns(column.alias(name) for name, column in told.items())
        if contract.patient is not None:
            name = f"synthetic-{self.hospital or self.seed}"
            frame = frame.with_columns(pl.Series(contract.patient, [f"{name}-{row // self.images_per_patient}" for row in range(rows)]))
        return frame

    def pictures(self, field: Field, references: pl.Series) -> Iterator[np.ndarray | Flaw]:
        """Yield the films of these rows, [1, height, width]; see `Source.pictures`.

        Raises:
            DataError: the contract's image has several channels, or not two dimensions.
        """
        _drawable(field)
        (low, high), kind = field.intensity or (0.0, 255.0), stored_as(field)
        scanner = Scanner(self.gain, self.gamma, self.blur, self.noise, self.inverted)
        stream = Stream.public(self.seed).child("radiographs", self.hospital)
        for row in references.to_list():
            case = self._case(row // self.images_per_patient)
            values = low + (high - low) * film(case, scanner, (field.shape or (1, 1, 1))[1:], stream.child("film", row))
            yield (np.rint(values) if kind.kind in "iu" else values).astype(kind)[None]

    def _case(self, patient: int) -> Case:
        """Return one patient, the same whichever films are asked for."""
        dice = Stream.public(self.seed).child("radiographs", self.hospital).generator("patient", patient)
        width, heart, breath = np.clip(dice.normal((1.0, 1.0, 0.0), (0.05, 0.09, 0.5)), (0.85, 0.75, -1.0), (1.1, 1.3, 1.0)).tolist()
        ill = bool(dice.random() < self.prevalence)
        count = 1 + int(dice.choice(_MOST_SPOTS, p=_SPOTS))
        spots = []
        for side, across, along, radius, bright in dice.random((count if ill else 0, 5)).tolist():
            place = (0.28 + 0.36 * across) * (1 if side < 0.5 else -1)
            spots.append((place, -0.5 + 0.85 * along, (0.11 + 0.11 * radius) * self.opacity, (0.13 + 0.13 * bright) * self.contrast))
        has = bool(dice.random() < self.devices[ill])
        return Case(width, heart, breath, tuple(spots), 1 + int(dice.random() < 0.5) if has else 0)


def _drawable(field: Field) -> None:
    """Refuse an image that no radiograph can be drawn into.

    Raises:
        DataError: it has several channels, or not two dimensions.
    """
    shape = field.shape or ()
    if len(shape) != 3 or shape[0] != 1 or min(shape[1:]) < 16:
        remedy = "Write shape = [1, height, width] with 16 pixels or more in the contract."
        raise DataError("Radiographs are drawn in grey and in two dimensions.", remedy)


def _labels(field: Field, cases: list[Case]) -> pl.Series:
    """Return each image's label: a code by the number of opacities, or a number by how much of the lung they cover."""
    if field.codes is not None:
        return pl.Series([field.codes[min(len(case.spots), len(field.codes) - 1)] for case in cases], dtype=pl.String)
    low, high = field.range or (0.0, 1.0)
    covered = np.array([sum(radius**2 for _, _, radius, _ in case.spots) for case in cases])
    return pl.Series(low + (high - low) * np.minimum(covered / _LUNG, 1))
