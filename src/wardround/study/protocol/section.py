"""Give every section of the protocol the same manners: frozen, no unknown keys, finite numbers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, StringConstraints, field_validator, model_serializer

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """Be one table of `study.toml`, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    later: ClassVar[frozenset[str]] = frozenset()
    """Keys that came after the first release: left out of the signed plan at their default, so that older plans keep their digest."""

    @model_serializer(mode="wrap")
    def _as_written(self, inner: SerializerFunctionWrapHandler) -> dict[str, Any]:
        found: dict[str, Any] = inner(self)
        return {
            key: value
            for key, value in found.items()
            if key not in self.later or getattr(self, key) != type(self).model_fields[key].default
        }

    @field_validator("*", mode="after")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("holds characters that cannot be printed, which could hide text from a reader; leave them out")
        return value
