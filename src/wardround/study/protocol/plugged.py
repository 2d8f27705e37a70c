"""Let a table name a plugin and hold its options flat beside the name."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, model_validator

from wardround.study.plugins import complete
from wardround.study.protocol.section import Name, Section


class Plugged(Section):
    """Name a plugin by `kind`; every key that is not the section's own is an option of the plugin.

    Attributes:
        kind: entry-point name.
        options: the plugin's options, defaults spelled out once the protocol is read.
    """

    kind: Name
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("options", {}), dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        rest = {key: value for key, value in data.items() if key not in cls.model_fields}
        return {**own, "options": {**own.get("options", {}), **rest}}

    def complete(self, group: str, where: str) -> Self:
        """Return the section with every option of its plugin spelled out.

        Raises:
            ProtocolError: no such plugin, or an option is unknown or impossible.
        """
        return self.model_copy(update={"options": complete(group, self.kind, self.options, where)})
