"""Say what a model sees of one example: columns of a table, by name, or an image.

It follows from the contract alone, so that every hospital gives the same columns in the same order.
"""

from __future__ import annotations

from wardround.study.protocol.contract import Contract, Field


def _columns(name: str, field: Field) -> list[str]:
    codes = field.codes or ()
    own = [name] if field.type == "number" else [f"{name}={code}" for code in (codes[1:] if len(codes) == 2 else codes)]
    return [*own, f"{name} missing"] if field.missing == "indicator" else own


def input_names(contract: Contract) -> list[str]:
    """Return the names of a model's inputs, in order; of an image its own."""
    if contract.image is not None:
        return [contract.image]
    return [column for name in contract.inputs for column in _columns(name, contract.fields[name])]


def input_shape(contract: Contract) -> tuple[int, ...]:
    """Return the shape of one example as a model sees it: (F,) columns of a table, or that of the image, channels first."""
    if contract.image is not None:
        return contract.fields[contract.image].shape or ()
    return (len(input_names(contract)),)
