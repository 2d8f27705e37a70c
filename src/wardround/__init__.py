"""Train or test one model at many hospitals; the records stay where they are.

Example:
    >>> import wardround
    >>> study = wardround.load_study("study.toml")  # doctest: +SKIP
    >>> wardround.simulate(study, ["north.toml", "south.toml"], out="run")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardround.partitioning import partition
    from wardround.simulation import Result, Study, from_module, load_study, simulate
    from wardround.study.interfaces import Rule
    from wardround.sweeping import sweep
    from wardround.sweptable import Table

__all__ = ["Result", "Rule", "Study", "Table", "from_module", "load_study", "partition", "simulate", "sweep"]

_ELSEWHERE = {"Rule": "study.interfaces", "partition": "partitioning", "Table": "sweptable", "sweep": "sweeping"}
"""Where public names are that are not in `simulation`."""


def __getattr__(name: str) -> Any:
    """Return a public name, loading what is behind it when it is first used: a verifier or a help text stays small."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'wardround' has no attribute {name!r}")
    return getattr(import_module(f"wardround.{_ELSEWHERE.get(name, 'simulation')}"), name)
