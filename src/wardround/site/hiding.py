"""Say by which steps a study hides single sites' sums: the exchanges of all sites, or one message and three helpers."""

from __future__ import annotations

from types import ModuleType

from wardround.site import exchange, windows
from wardround.site.gate import Site
from wardround.study.files import Data
from wardround.study.task import Task, Update


def step(site: Site, task: Task) -> Update | None:
    """Take one step of a hidden sum; return what is said, or None where the worker is to answer.

    Raises:
        Broken: the step is not what it must be; nothing is said.
    """
    found: Update | None = _steps(site).step(site, task)
    return found


def hidden(site: Site, task: Task, body: Data) -> Data:
    """Return an encoded answer as it may leave.

    Raises:
        Broken: this site has not come to this step in this attempt.
    """
    found: Data = _steps(site).hidden(site, task, body)
    return found


def _steps(site: Site) -> ModuleType:
    return windows if site.protocol.combiner.hides == "window" else exchange
