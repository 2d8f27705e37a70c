"""Start from parameters that somebody supplies: a model pretrained elsewhere, or one that an earlier study released.

The file is named in the plan and stands in it by digest; nothing is downloaded. Its parameters are taken by name. A last layer for another
number of outputs is left out, since it answers another question; anything else of another shape means that the file is of another model.
"""

from __future__ import annotations

import numpy as np

from wardround.study.arrays import Arrays, under
from wardround.study.errors import ProtocolError
from wardround.study.protocol import Protocol

_REMEDY = "Name a file of the same kind of model with the same options."


def started(protocol: Protocol, parameters: Arrays) -> dict[str, np.ndarray]:
    """Return a new model's parameters with those of the plan's checkpoint in place of its own.

    Args:
        protocol: with the checkpoint that it names; without one the parameters stay as they are.
        parameters: as the model initialises them.

    Raises:
        ProtocolError: the checkpoint is not of this model, holds numbers that are not finite, or lacks what is to be frozen; or nothing is
            left to be trained.
    """
    found = under(protocol.checkpoint, "params") or protocol.checkpoint
    name, plugin = protocol.model.start, protocol.model_plugin
    taken = {one: value for one, value in found.items() if one in parameters and value.shape == parameters[one].shape}
    for one, value in found.items():
        if one in parameters and one not in taken and "head" not in plugin.parts(one):
            wrong = f"model.start: in {name} the parameter {one!r} has the shape {value.shape}, in the model {parameters[one].shape}."
            raise ProtocolError(wrong, _REMEDY)
        if one in taken and not bool(np.all(np.isfinite(value))):
            raise ProtocolError(f"model.start: {name} holds numbers that are not finite.", "Export the file anew.")
    if name and not taken:
        raise ProtocolError(f"model.start: nothing in {name} has the name and shape of a parameter of the model.", _REMEDY)
    held = [one for one in parameters if plugin.parts(one).intersection(protocol.model.frozen) and one not in taken]
    if held:
        wrong = f"model.frozen: {len(held)} frozen parameters are not in the file of model.start, and would stay as chance made them."
        raise ProtocolError(wrong, "Name a file that has them, or freeze less.")
    if not any(protocol.moves(one) for one, value in parameters.items() if value.dtype.kind == "f"):
        raise ProtocolError("model.frozen: with model.private leaves nothing that hospitals train together.", "Leave a part out.")
    return {**parameters, **{one: value.astype(parameters[one].dtype) for one, value in taken.items()}}
