"""Price a study by a rate sheet that the user gives; there is no price in this program.

    currency = "EUR"
    site_once = 1500            # for each site: contract, ethics, set-up
    site_hour = 0.40            # for each hour of a site's machine
    coordinator_hour = 0.20     # for each hour of the coordinating centre's
    gigabyte_to_sites = 0.09    # for each 10^9 bytes that the coordinating centre sends
    gigabyte_to_coordinator = 0 # for each 10^9 bytes that sites send

What is left out costs nothing and is named, so that nobody takes a part for the whole.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from wardround.study.errors import ProtocolError
from wardround.study.findings import FileRefused, findings_of
from wardround.study.protocol.section import Section

Rate = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
_PRICES = ("site_once", "site_hour", "coordinator_hour", "gigabyte_to_sites", "gigabyte_to_coordinator")


class Rates(Section):
    """Be a rate sheet.

    Attributes:
        currency: as it is printed.
        site_once: for each site.
        site_hour: for each hour of a site's machine.
        coordinator_hour: for each hour of the coordinating centre's.
        gigabyte_to_sites: for each 10^9 bytes from the centre to sites.
        gigabyte_to_coordinator: for each 10^9 bytes from sites to the centre.
    """

    currency: Annotated[str, Field(min_length=1, max_length=12)]
    site_once: Rate | None = None
    site_hour: Rate | None = None
    coordinator_hour: Rate | None = None
    gigabyte_to_sites: Rate | None = None
    gigabyte_to_coordinator: Rate | None = None


def read_rates(path: Path) -> Rates:
    """Read a rate sheet.

    Raises:
        ProtocolError: it cannot be read, or a rate is wrong; names line or key, and the remedy.
    """
    try:
        return Rates.model_validate(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except OSError as error:
        raise ProtocolError(f"{path} cannot be read ({error.strerror}).", "Give the path of a rate sheet.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProtocolError(f"{path} is not TOML ({error}).", "Write one rate a line: site_hour = 0.4") from error
    except ValidationError as error:
        raise FileRefused(str(path), findings_of(error, "", list(Rates.model_fields))) from error


def priced(rates: Rates, sites: int, hours: float, to_sites: float, to_coordinator: float) -> Mapping[str, Any]:
    """Return what a study costs: for each site, for the coordinating centre and in all, and which rates were not given.

    Args:
        rates: the sheet.
        sites: how many take part.
        hours: from the first round to the last.
        to_sites: bytes in all.
        to_coordinator: bytes in all.
    """
    site = (rates.site_once or 0.0) + hours * (rates.site_hour or 0.0)
    site += to_coordinator / sites / 1e9 * (rates.gigabyte_to_coordinator or 0.0)
    centre = hours * (rates.coordinator_hour or 0.0) + to_sites / 1e9 * (rates.gigabyte_to_sites or 0.0)
    missing = [name for name in _PRICES if getattr(rates, name) is None]
    amounts = {"site": round(site, 2), "coordinator": round(centre, 2), "all": round(sites * site + centre, 2)}
    return {"currency": rates.currency, **amounts, "not_priced": missing}
