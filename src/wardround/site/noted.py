"""Remember in each study's own folder how many of its answers the hospital's ledger had noted.

The ledger lies outside the study, and a copy of it that is put back may be older than what has left since. Nobody can see that from the
copy alone. So each study keeps beside its own log which ledger it was and how far it had come, and answers nothing where that ledger has
fewer. A study that begins later has no such memory: to it an older copy looks whole.
"""

from __future__ import annotations

import json
from pathlib import Path

from wardround.site.ledger import Ledger, answers
from wardround.study.errors import StoreError

FILE = "noted.json"


def keep_noted(folder: Path, count: int) -> None:
    """Write down how many answers of the study stand in the ledger."""
    from wardround.site.folder import write_text  # which itself needs this module's user

    write_text(folder / FILE, json.dumps({"answers": count}) + "\n")


def check_noted(folder: Path, ledger: Ledger, protocol: str) -> None:
    """Hold a ledger against what a study noted in it.

    Args:
        folder: of the hospital in this study.
        ledger: that its rules name now.
        protocol: digest of the plan.

    Raises:
        StoreError: the ledger knows less, or is another one; or the note is damaged.
    """
    try:
        noted = int(json.loads((folder / FILE).read_text(encoding="utf-8"))["answers"])
    except FileNotFoundError:
        return
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise StoreError(
            f"{folder / FILE} is damaged.", "Put this file back; without it, take no further part: wardround site leave."
        ) from error
    known = 0
    if ledger.exists:
        with ledger.reading() as connection:
            known = answers(connection, protocol)
    if known < noted:
        message = f"The ledger {ledger.folder} has forgotten what this study was told: it is another one, or an older copy."
        raise StoreError(message, "Put the newest ledger back, or take no further part: wardround site leave.")
