"""Name everything that can go wrong for a user, each with its remedy.

    WardroundError
    ├── ProtocolError        study.toml or a site file is wrong; says line and key
    ├── DataError            a site's data does not meet the contract; says field and count, never a value
    ├── PolicyRefused        the site's own machine says no
    ├── QuorumNotMet         too few sites answered, however often they were asked
    │   └── NeverCloses      and never will, since a site has left that the round cannot do without
    ├── VerificationError    a record, a signature or a model is not what it claims
    ├── StoreError           a directory belongs to another study, or could not be written
    ├── Unreachable          the other side of a connection does not answer
    ├── NotAdmitted          the coordinator's hub does not let this key in, or not do this
    └── MissingExtra         an optional part is not installed; names the install line

What a single site does wrong during a round is no exception but a `Refusal` (see `task.py`).
"""

from __future__ import annotations

from typing import Any


class WardroundError(Exception):
    """Say in one sentence what is wrong, and in one what to do.

    Args:
        message: what is wrong; one sentence, no patient value.
        remedy: what the reader can do now.
    """

    def __init__(self, message: str, remedy: str) -> None:
        """Keep the sentence and its remedy apart, so that each page can set them as it likes."""
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        """Return both sentences on one line."""
        return f"{self.message} {self.remedy}".strip()

    def __reduce__(self) -> tuple[type[WardroundError], tuple[Any, ...]]:
        """Copy with both sentences; the default would lose the remedy."""
        return type(self), (self.message, self.remedy)


class ProtocolError(WardroundError):
    """A study or site file cannot be accepted."""


class DataError(WardroundError):
    """A site's data does not meet the contract."""


class PolicyRefused(WardroundError):
    """The site's own rules forbid what was asked."""


class QuorumNotMet(WardroundError):
    """Too few sites answered."""


class NeverCloses(QuorumNotMet):
    """A round can close only with a site that has left the study."""


class VerificationError(WardroundError):
    """A record, signature, proof or model is not what it claims to be."""


class StoreError(WardroundError):
    """A study's directory cannot be used or written."""


class Unreachable(WardroundError):
    """The other side of a connection does not answer; nothing is lost, and the same can be tried again."""


class NotAdmitted(WardroundError):
    """A key is not known to the other side, or may not do what was tried."""


class MissingExtra(WardroundError):
    """An optional part is not installed."""
