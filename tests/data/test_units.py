from __future__ import annotations

import pytest

from wardround.data.units import conversion
from wardround.study.errors import ProtocolError


@pytest.mark.parametrize(
    ("value", "local", "wanted", "result"),
    [
        (1, "g/L", "mg/dL", 100),
        (14, "g/dL", "g/L", 140),
        (5, "ug/mL", "mg/L", 5),
        (180, "cm", "m", 1.8),
        (70, "in", "cm", 177.8),
        (150, "lb", "kg", 68.0388555),
        (98.6, "degF", "degC", 37),
        (310.15, "K", "Cel", 37),
        (120, "mmHg", "kPa", 15.99864),
        (18, "months", "years", 1.5),
        (730.5, "d", "a", 2),
        (45, "%", "1", 0.45),
        (5.5, "mmol/L", "umol/L", 5500),
        (7.2, "10*3/uL", "10*9/L", 7.2),
        (2, "mU/L", "uU/mL", 2),
        (60, "bpm", "Hz", 1),
        (90, "µg/l", "ng/mL", 90),
        (3, "mg/dl", "mg/dL", 3),
    ],
)
def test_a_value_is_converted_there_and_back(value: float, local: str, wanted: str, result: float) -> None:
    factor, offset = conversion(local, wanted)
    assert factor * value + offset == pytest.approx(result, rel=1e-12)
    factor, offset = conversion(wanted, local)
    assert factor * result + offset == pytest.approx(value, rel=1e-12)


def test_the_same_unit_needs_no_table() -> None:
    assert conversion("points", " points ") == (1.0, 0.0)


@pytest.mark.parametrize(
    ("local", "wanted"), [("mg/dL", "mmol/L"), ("kg", "cm"), ("mol", "g"), ("points", "1"), ("Cel", "1"), ("U/L", "mg/L")]
)
def test_what_has_no_fixed_factor_is_refused_with_the_way_out(local: str, wanted: str) -> None:
    with pytest.raises(ProtocolError) as refused:
        conversion(local, wanted)
    assert "factor =" in refused.value.remedy
    assert local in str(refused.value)


def test_mass_and_substance_concentration_say_why() -> None:
    with pytest.raises(ProtocolError, match="depends on the substance"):
        conversion("mg/dL", "mmol/L")
