"""Keep the studies that a new one starts from: one commented `study.toml` for each kind of question, part of the package."""

from __future__ import annotations

from importlib import resources

from wardround.study.errors import ProtocolError


def template_names() -> tuple[str, ...]:
    """Return the names of the templates."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def template(name: str) -> str:
    """Return the text of a template.

    Raises:
        ProtocolError: there is no such template; the remedy lists those there are.
    """
    if name not in template_names():
        raise ProtocolError(f"There is no template named {name!r}.", f"Use one of: {', '.join(template_names())}.")
    return resources.files(__name__).joinpath(f"{name}.toml").read_text(encoding="utf-8")
