"""Which parameters take part in a training: none that was replaced before anything read it, none of a mere teacher."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from .moments import OpCall, Template
from .records import Parameter


def in_use(
    parameters: Iterable[Parameter], templates: Iterable[Template], measured: Collection[int]
) -> list[Parameter]:
    """The parameters that a module or an optimizer has, that some op read, or whose norms were `measured`.

    The weight that a layer had before it was tied to another's is none: only its initialisation wrote to it.
    """
    read = set(measured).union(*map(_read, templates))
    return [one for one in parameters if one.root or one.optimizers or one.id in read]


def _read(template: Template) -> set[int]:
    """The parameters of whose memory an op made something that lies elsewhere."""
    tensors = template.tensors
    owners = {one.storage: one.parameter for one in tensors if one.parameter is not None}
    found: set[int] = set()
    for moment in template.moments:
        if isinstance(moment, OpCall) and moment.inputs:
            written = {tensors[number].storage for number in moment.outputs}
            read = {tensors[number].storage for number in moment.inputs} - written
            found.update(owners[storage] for storage in read & owners.keys())
    return found


def only_evaluated(parameters: Iterable[Parameter], with_gradient: Collection[int]) -> frozenset[str]:
    """The models, by their roots, that others were trained beside: no optimizer has them, no gradient reached them."""
    if not with_gradient:
        return frozenset()
    known = [one for one in parameters if one.root]
    return frozenset(one.root for one in known) - {
        one.root for one in known if one.optimizers or one.id in with_gradient
    }
