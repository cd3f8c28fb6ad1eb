"""The leaves of a step that the trace does not know as lasting: rows for them, beside its parameters. Pure.

A leaf of the script's own is known as lasting once several steps have met it; a script of one step has none of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from ..model.moments import LeafChange
from ..model.records import Parameter, Tensor
from ..model.trace import Step


def own_leaves(step: Step) -> Mapping[int, Parameter]:
    """For the number of each leaf that is no parameter of the trace, what stands for it in tables.

    That is the trace's lasting leaf of its name, from before it was known as such, else a stand-in whose id is below 0.
    """
    become = _becoming(step)
    leaves = [one for one in step.tensors if one.parameter is None and (one.role == "leaf" or one.number in become)]
    if not leaves:
        return {}
    met = {tensor.parameter for tensor in step.tensors}
    lasting: dict[tuple[str, tuple[int, ...]], Parameter | None] = {}
    for one in step.trace.names.parameters.values():
        if one.role == "leaf" and one.name and one.id not in met:
            key = (one.name, one.shape)
            lasting[key] = None if key in lasting else one
    names = [tensor.name for tensor in leaves]
    found = {}
    for tensor in leaves:
        known = lasting.get((tensor.name, tensor.shape)) if names.count(tensor.name) == 1 else None
        found[tensor.number] = known if known is not None else _stand_in(tensor)
    return found


def _becoming(step: Step) -> Set[int]:
    """The tensors that become leaves which want a gradient in this step."""
    changes = (step.moments[place] for place in step.positions(LeafChange))
    return {one.tensor for one in changes if isinstance(one, LeafChange) and one.is_leaf and one.requires_grad}


def _stand_in(tensor: Tensor) -> Parameter:
    return Parameter(
        id=-tensor.number - 1,
        name=tensor.name,
        root="",
        role="leaf",
        shape=tensor.shape,
        dtype=tensor.dtype,
        device=tensor.device,
        requires_grad=True,
        nbytes=tensor.nbytes,
    )
