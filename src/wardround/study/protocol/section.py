"""Give every section of the protocol the same manners: frozen, no unknown keys, finite numbers."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints, field_validator

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")]


class Section(BaseModel):
    """Be one table of `study.toml`, immutable once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, str_strip_whitespace=True)

    @field_validator("*", mode="after")
    @classmethod
    def _printable(cls, value: Any) -> Any:
        if isinstance(value, str) and not value.isprintable():
            raise ValueError("holds characters that cannot be printed, which could hide text from a reader; leave them out")
        return value
