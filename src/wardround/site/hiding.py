"""Say by which steps a study hides single sites' sums: the exchanges of all sites, or one message and three helpers."""

from __future__ import annotations

from dataclasses import replace
from types import ModuleType

from wardround.combining.secure.wording import Broken
from wardround.site import exchange, windows
from wardround.site.gate import Site
from wardround.study.errors import PolicyRefused
from wardround.study.files import Data
from wardround.study.task import Refusal, Task, Update


def step(site: Site, task: Task) -> Update | None:
    """Take one step of a hidden sum; return what is said, or None where the worker is to answer.

    Raises:
        Broken: the step is not what it must be; nothing is said.
    """
    found: Update | None = _steps(site).step(site, task)
    return found


def refused(site: Site, task: Task, error: PolicyRefused | Broken) -> Refusal:
    """Return the refusal of a task; where fault was found in a hidden sum, this site's part in the attempt is over."""
    if isinstance(error, Broken) and site.protocol.hides:
        _steps(site).end(site, task)
    return replace(site.refuse(task, "accept", error.message, error.remedy), kind=type(error).__name__)


def hidden(site: Site, task: Task, body: Data) -> Data:
    """Return an encoded answer as it may leave.

    Raises:
        Broken: this site has not come to this step in this attempt.
    """
    found: Data = _steps(site).hidden(site, task, body)
    return found


def _steps(site: Site) -> ModuleType:
    return windows if site.protocol.combiner.hides == "window" else exchange
