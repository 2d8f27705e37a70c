"""Train or test one model at many hospitals; the records stay where they are.

Example:
    >>> import wardround
    >>> study = wardround.load_study("study.toml")  # doctest: +SKIP
    >>> wardround.simulate(study, ["north.toml", "south.toml"], out="run")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardround.simulation import Result, Study, from_module, load_study, simulate
    from wardround.study.interfaces import Rule

__all__ = ["Result", "Rule", "Study", "from_module", "load_study", "simulate"]


def __getattr__(name: str) -> Any:
    """Return a public name, loading what is behind it when it is first used: a verifier or a help text stays small."""
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module 'wardround' has no attribute {name!r}")
    return getattr(import_module("wardround.study.interfaces" if name == "Rule" else "wardround.simulation"), name)
