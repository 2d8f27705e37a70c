"""Keep what shows that a step of the secure sum was broken: what the coordinator signed, beside this site's signed refusal of it.

Whoever has the coordinator's key can check it. Nothing in it is secret: what other sites share with this one is sealed, and the keys that
open it stand in no message.
"""

from __future__ import annotations

from pathlib import Path

from wardround.site.folder import write_bytes
from wardround.study.canonical import canonical

FOLDER = "evidence"
MOST = 100
"""Files that are kept, the first ones, so that nobody can fill the disk."""


def keep(folder: Path, task: str, came: bytes, before: bytes | None, refusal: bytes) -> None:
    """Write the evidence of one task down.

    Args:
        folder: of the hospital.
        task: its digest.
        came: the message that brought it, as it came.
        before: the message before it in the same attempt, if it is still known.
        refusal: this site's own message.
    """
    room = folder / FOLDER
    room.mkdir(mode=0o700, exist_ok=True)
    path = room / f"{task.removeprefix('sha256:')}.json"
    if path.exists() or len(kept(folder)) >= MOST:
        return
    messages = {"task": came, "before": before, "refusal": refusal}
    write_bytes(path, canonical({name: None if data is None else data.decode() for name, data in messages.items()}))


def kept(folder: Path) -> list[Path]:
    """Return the files that hold evidence, by name."""
    return sorted((folder / FOLDER).glob("*.json"))
