"""Keep the studies that a new one starts from: one commented `study.toml` for each kind of question, part of the package."""

from __future__ import annotations

import tomllib
from importlib import resources

from wardround.study.errors import ProtocolError
from wardround.study.protocol.protocol import Protocol

OPEN = "to be stated"


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


def left_to_fill_in(protocol: Protocol) -> dict[str, str]:
    """Return what still says what a template says where everybody must say something of their own: by dotted key, the text.

    A study can run so; its name, and who answers for it on what basis, are then nobody's.
    """
    texts = {"study": protocol.study, **{f"parties.{key}": value for key, value in protocol.parties if isinstance(value, str)}}
    drafts = [tomllib.loads(template(name)) for name in template_names()]
    written = [{"study": draft["study"], **{f"parties.{key}": value for key, value in draft["parties"].items()}} for draft in drafts]
    return {key: text for key, text in texts.items() if text.startswith(OPEN) or any(text == one.get(key) for one in written)}
