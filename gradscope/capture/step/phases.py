"""Which phase of a step the script is in, told from what runs: modules, losses, modes."""

from __future__ import annotations

import torch

from ...model.records import Phase
from ..hiding.torch_private import Loss

_LOSS_NAMES = ("cross_entropy", "nll_loss", "kl_div", "ctc_loss")


def is_loss_name(name: str) -> bool:
    """Whether a functional's name is a loss of `torch.nn.functional`."""
    return name.endswith("_loss") or name.startswith(("binary_cross_entropy",)) or name in _LOSS_NAMES


def is_loss_module(module: torch.nn.Module) -> bool:
    return isinstance(module, Loss)


class PhaseClock:
    """Follows module calls and backwards to word each op's phase."""

    def __init__(self) -> None:
        self.depth = 0
        self.in_loss = 0
        self.after_forward = False
        self.evaluating = False
        self.with_modules = False  # a root has run
        self.after_update = False  # and none since the last update

    def enter(self, loss: bool) -> None:
        if loss:
            self.in_loss += 1
        elif not self.depth:
            self.after_forward = self.after_update = False
            self.with_modules = True
        self.depth += 1

    def leave(self, loss: bool) -> None:
        self.depth -= 1
        if loss:
            self.in_loss -= 1
        elif not self.depth:
            self.after_forward = True
            self.evaluating = not torch.is_grad_enabled()

    def backward(self) -> None:
        self.after_forward = False

    def updated(self) -> None:
        """Parameters were updated: what is computed before a root runs again is no forward, if the script has roots."""
        self.after_update = self.with_modules

    def new_step(self) -> None:
        self.after_forward = self.after_update = False
        self.evaluating = False

    def of_op(self, name: str, grad_enabled: bool, makes_graph: bool) -> Phase:
        """The phase of an op. `makes_graph`: an output requires a gradient."""
        if not grad_enabled:
            return Phase.EVAL if self.depth or self.evaluating else Phase.OTHER
        if self.in_loss:
            return Phase.LOSS
        if self.depth:
            return Phase.FORWARD
        if is_loss_name(name) or (makes_graph and self.after_forward):
            return Phase.LOSS
        return Phase.FORWARD if makes_graph and not self.after_update else Phase.OTHER
