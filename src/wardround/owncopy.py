"""Write a hospital's own figures into its copy of result and report, once the study has ended; here, from what the site kept."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable

from jinja2 import TemplateError

from wardround.outcome import copy_for
from wardround.pages.report import REPORT, RESULT, write_report
from wardround.site.folder import SiteFolder, write_bytes
from wardround.site.journal import Journal
from wardround.study.arrays import Arrays
from wardround.study.errors import VerificationError

OWN = "own figures"


def put_own(folder: SiteFolder, connection: sqlite3.Connection, journal: Journal, say: Callable[[str], None]) -> None:
    """Put this hospital's own figures, where it has any, beside the totals. Once more does no harm.

    Args:
        folder: of the hospital, with what the study came to.
        connection: the site's database.
        journal: in it; is told where there are such figures.
        say: tells the person at the terminal.

    Raises:
        VerificationError: the result that the coordinator sent is not well formed; it stays as it came.
        StoreError: the disk refused; run again.
    """
    gate, path = folder.gate(connection, frozenset(), None), folder.path / RESULT
    compared = next((one.phase for one in folder.protocol.algorithms if one.apart), None)
    kept = gate.state.mine().get(str(folder.protocol.giving("judgement") or compared))
    if kept is None or not path.exists():
        return
    _write(folder, gate.name, kept)
    journal.put_meta(OWN, b"1")
    connection.commit()
    say(f"This hospital's own figures, worked out here, stand beside the totals in {folder.path / REPORT}.")


def _write(folder: SiteFolder, site: str, kept: Arrays) -> None:
    path = folder.path / RESULT
    released = path.read_bytes()
    try:
        own = copy_for(folder.protocol, released, site, folder.brought.patients, kept)
        text = json.dumps(own, indent=1, sort_keys=True, allow_nan=False) + "\n"
        write_bytes(path, text.encode())
        write_report(folder.path)
    except (ArithmeticError, AttributeError, LookupError, TemplateError, TypeError, ValueError) as error:
        write_bytes(path, released)
        message = f"The result that the coordinating centre sent is not well formed ({type(error).__name__}), so it stays as it came."
        raise VerificationError(message, "Report this to the coordinating centre.") from error
