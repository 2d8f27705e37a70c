"""Take part in a rehearsal as a hospital: look whether this machine can, make rows up from the contract, and answer like in the study.

No approval is needed, because no patient's record is opened: the rehearsal's folder within the hospital's has a snapshot of made-up rows
only, rules that allow no other source, and a gate that refuses every other. The site file's source is not read.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from wardround import hospital
from wardround.calibration import made_up
from wardround.coordinator.folder import REHEARSAL
from wardround.engines.agent import Say
from wardround.record.note import VerifierKey
from wardround.site.folder import MEMBERSHIP, PROTOCOL, SiteFolder, write_bytes, write_text
from wardround.site.gate import Brought
from wardround.site.rules import FILE
from wardround.study.dataset import row_bytes
from wardround.study.errors import StoreError
from wardround.study.protocol.rehearsed import made_up_rows, rehearsal_of

ROLE = "nobody: a rehearsal on made-up rows"
TRIAL = 256 * 2**20
"""Bytes that are written to the disk as a trial, at most."""

_ROOM = 16 * 2**20
_RULES = """# Written by the program for the rehearsal, which uses made-up rows only. The hospital's own rules are in the folder above.
purposes = ["*"]
models = ["*"]
sources = ["synthetic"]
min_patients = 1
rounds = 1000000
hours = "any"
may_leave = ["sums", "counts", "results", "record"]
release = "auto"
sites = ["*"]
"""


def needs(folder: SiteFolder, parameters: int = 0) -> int:
    """Return how many bytes of disk a hospital needs for a study: its snapshot twice, three models, state and log."""
    protocol = folder.protocol
    return 2 * protocol.bounds.examples * (row_bytes(protocol.contract) + 2 * 8) + 3 * parameters + _ROOM


def room(place: Path, size: int) -> str:
    """Return why a folder's disk does not hold so many bytes; nothing where it does. A part of them is written, and removed again."""
    if shutil.disk_usage(place).free < size:
        return "the disk has less than that free"
    trial, block = place / "trial.new", bytes(2**20)
    try:
        with trial.open("wb") as file:
            for _ in range(-(-min(size, TRIAL) // len(block))):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error.strerror or "the system refused"
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)
    return ""


def set_up(folder: SiteFolder) -> SiteFolder:
    """Make the rehearsal's folder anew, with the site's own keys and made-up rows, and return it.

    Its log has a name that no other log ever has, since two logs of one name and key would look like one that was forked.

    Args:
        folder: of a hospital that has joined.

    Raises:
        StoreError: the disk refused.
        ProtocolError: the hospital was invited to a plan that is a rehearsal itself.
    """
    from wardround.data.load import prepare

    protocol, place = rehearsal_of(folder.protocol), folder.path / REHEARSAL
    known = folder.membership.coordinator_key
    named = VerifierKey(f"{known.name}/rehearsal-{secrets.token_hex(8)}", known.public).text
    member = replace(folder.membership, protocol=protocol.digest, coordinator=named)
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700)
        (place / "keys").symlink_to(Path("..") / "keys")
        write_bytes(place / PROTOCOL, protocol.canonical)
        write_text(place / FILE, _RULES)
        write_text(place / MEMBERSHIP, json.dumps(asdict(member), indent=1) + "\n")
    except OSError as error:
        raise StoreError(f"{place} cannot be written ({error.strerror}).", "Make room on this disk, then rehearse again.") from error
    made = SiteFolder(place)
    (site,) = made_up({folder.membership.site: made_up_rows(protocol)}, seed=sum(folder.membership.site.encode()))
    done = prepare(site, protocol, made.snapshots)
    rows, training = len(done.dataset), len(done.dataset.rows("train"))
    made.bring(Brought(done.digest, done.dataset.patients, training, site.source.kind, rows))
    hospital.sign(made, ROLE)
    return made


def take_part(folder: SiteFolder, say: Say) -> None:
    """Take part in the rehearsal that is served, until it ends; meanwhile nothing else takes part as this hospital.

    Raises:
        StoreError: the disk refused, or another process takes part as this hospital, in the study or in a rehearsal.
        PolicyRefused: the study itself is served.
        NotAdmitted: the coordinating centre cut this site off.
    """
    with hospital.held(folder.path):
        hospital.run(set_up(folder), say)
