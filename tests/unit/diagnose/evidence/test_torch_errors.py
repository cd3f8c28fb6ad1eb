"""Each kind of error, provoked from the installed torch."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Mapping
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.func import grad, jvp, vmap
from torch.nn.parallel import DistributedDataParallel
from torch.optim import lr_scheduler as schedules
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, Dataset

import gradscope.diagnose.checks
from gradscope.diagnose.evidence.torch_errors import ErrorKind, torch_error

for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.LBFGS, torch.optim.Adagrad):
    kind([torch.ones(1)], lr=1.0)  # the first optimizer of a process, and of a class, changes what the tests look after


def wanting(*shape: int) -> Tensor:
    return torch.ones(shape, requires_grad=True)


def modifies_what_was_saved() -> None:
    x = wanting(3, 2)
    y = x.exp()
    y.add_(1)
    y.sum().backward()


def goes_back_twice() -> None:
    loss = (wanting(3) ** 2).sum()
    loss.backward()
    loss.backward()


def has_an_unused_input() -> None:
    torch.autograd.grad(wanting(), [wanting()])


def has_an_input_that_wants_none() -> None:
    x = torch.ones(())
    torch.autograd.grad(wanting() * x, [x])


class Lonely(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
        return x * 2, x * 3

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        return grad


def takes_one_gradient() -> None:
    Lonely.apply(wanting(2))[0].sum().backward()


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float) -> Tensor:
        return x * factor

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


class Passed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.view(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


def saves_an_inference_tensor() -> None:
    with torch.inference_mode():
        x = torch.ones(3)
    wanting(3) * x


def writes_to_an_inference_tensor() -> None:
    with torch.inference_mode():
        x = torch.ones(3)
    x.add_(1)


def writes_to_a_view_made_without_grad() -> None:
    x = wanting(3) * 1
    with torch.no_grad():
        view = x[:2]
    view.mul_(2)


def writes_to_one_of_views() -> None:
    first, _ = (wanting(2) * 1).unbind()
    first.mul_(2)


def replaces_a_parameter() -> None:
    layer = nn.Linear(2, 2)
    layer.weight = layer.weight * 2  # type: ignore[assignment]


def sets_the_flag_of_a_result() -> None:
    (wanting(2) * 1).requires_grad = False


class Scaler:
    """A GradScaler on the CPU, with what it scales."""

    def __init__(self) -> None:
        self.weight = wanting(2)
        self.sgd = torch.optim.SGD([self.weight], lr=0.1)
        self.scaler = torch.amp.GradScaler("cpu")

    def backward(self) -> None:
        self.scaler.scale(self.weight.sum()).backward()

    def steps_twice(self) -> None:
        self.backward()
        self.scaler.step(self.sgd)
        self.scaler.step(self.sgd)

    def unscales_twice(self) -> None:
        self.backward()
        self.scaler.unscale_(self.sgd)
        self.scaler.unscale_(self.sgd)

    def unscales_late(self) -> None:
        self.backward()
        self.scaler.step(self.sgd)
        self.scaler.unscale_(self.sgd)

    def never_scales(self) -> None:
        self.weight.sum().backward()
        self.scaler.step(self.sgd)

    def updates_early(self) -> None:
        self.backward()
        self.scaler.update()

    def finds_no_gradients(self) -> None:
        self.scaler.scale(wanting()).backward()
        self.scaler.step(self.sgd)


class Hasty(nn.Module):
    def __init__(self) -> None:
        self.layer = nn.Linear(2, 2)
        super().__init__()


def puts_a_parameter_in_two_groups() -> None:
    weight = wanting(2)
    torch.optim.SGD([{"params": [weight]}, {"params": [weight]}], lr=0.1)


def mixes_devices() -> None:
    torch.ones(3) + torch.ones(3, device="meta")


EYE = torch.eye(2)
ATTENTION = "_scaled_dot_product_flash_attention_for_cpu_backward"
META = "{{'shape': torch.Size([{}]), 'dtype': torch.float32, 'device': device(type='cpu')}}"
MISSING = 'Missing key(s) in state_dict: "weight", "bias". '


def differentiates_attention_twice() -> None:
    w = wanting(1, 1, 4, 4)
    out = nn.functional.scaled_dot_product_attention(w, w, w).sum()
    torch.autograd.grad(out, w, create_graph=True)[0].sum().backward()


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * grads[0]


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2


class OldStyle(torch.autograd.Function):
    def forward(self, x: Tensor) -> Tensor:
        return x


class NewStyle(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        pass

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return grads[0]


class SavesNumber(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(3.0)
        return x * 2


class ReturnsNumber(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        return 3.0


def differentiates_once_differentiable_twice() -> None:
    x, v = wanting(2), wanting(2)
    torch.autograd.grad(Once.apply(x), x, v, create_graph=True)[0].sum().backward()


def finds_nan() -> None:
    x = torch.zeros(1, requires_grad=True)
    with torch.autograd.detect_anomaly():
        (x.sqrt() * 0).backward()


def assigns(gradient: Any) -> None:
    wanting(2).grad = gradient


def hooks(hook: Callable[[Tensor], Any]) -> None:
    x = wanting(2)
    x.register_hook(hook)
    x.sum().backward()


def hooks_a_module(hook: Callable[..., Any]) -> Tensor:
    layer = nn.Linear(2, 2)
    layer.register_full_backward_hook(hook)
    out: Tensor = layer(wanting(1, 2))
    out.sum().backward()
    return out


def recomputes(first: Callable[[Tensor], Tensor], second: Callable[[Tensor], Tensor]) -> None:
    functions = iter([first, second])
    checkpoint(lambda x: next(functions)(x).sum(), wanting(3), use_reentrant=False).backward()


def asks_a_reentrant_checkpoint() -> None:
    x = wanting(3)
    torch.autograd.grad(checkpoint(torch.exp, x, use_reentrant=True).sum(), x)


def writes_an_element(x: Tensor) -> Tensor:
    out = torch.zeros(3)
    out[0] = x
    return out


def lets_a_tensor_escape() -> None:
    kept: list[Tensor] = []
    vmap(lambda x: kept.append(x) or x)(torch.ones(3))
    kept[0] + 1


def clips_nan() -> None:
    x = wanting(1)
    x.grad = torch.tensor([float("nan")])
    nn.utils.clip_grad_norm_([x], 1.0, error_if_nonfinite=True)


def meets_half() -> None:
    weight = torch.ones(2, dtype=torch.half, requires_grad=True)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(torch.optim.SGD([weight], lr=0.1))


def sgd(*sizes: int) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [wanting(2) for _ in range(size)]} for size in sizes], lr=0.1)


def updates_by_a_sparse_gradient() -> None:
    rows = nn.Embedding(3, 2, sparse=True)
    rows(torch.tensor([1])).sum().backward()
    torch.optim.Adam(rows.parameters()).step()


def steps_too_often() -> None:
    scheduler = schedules.OneCycleLR(sgd(1), 1, total_steps=2)
    for _ in range(3):
        scheduler.optimizer.step()
        scheduler.step()


class Rows(Dataset[Tensor]):
    def __init__(self, *, graph: bool) -> None:
        self.graph = graph

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        if self.graph:
            return wanting(2) * index
        raise KeyError("gone")


def in_a_group(run: Callable[[], object]) -> None:
    hook = sys.excepthook
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        run()
    finally:
        torch.distributed.destroy_process_group()
        sys.excepthook = hook


class Branches(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList([nn.Linear(2, 2), nn.Linear(2, 2)])

    def forward(self, x: Tensor, which: int) -> Tensor:
        out: Tensor = self.branches[which](x)
        return out


class Rerun(nn.Linear):
    def forward(self, x: Tensor, which: int) -> Tensor:
        return super().forward(checkpoint(super().forward, x, use_reentrant=True))


def parallel(model: nn.Module, which: Callable[[int], int] = lambda step: 0, **how: Any) -> None:
    """Steps through the branch that `which` chooses."""

    def run() -> None:
        shared = DistributedDataParallel(model, **how)
        for step in range(3):
            shared(wanting(1, 2), int(which(step))).square().sum().backward()

    in_a_group(run)


PROVOKED: list[tuple[ErrorKind, Callable[[], object], Mapping[str, str | None]]] = [
    (ErrorKind.SAVED_TENSOR_MODIFIED, modifies_what_was_saved, {"shape": "3, 2"}),
    (ErrorKind.GRAPH_FREED, goes_back_twice, {}),
    (ErrorKind.NO_GRAPH, lambda: torch.ones(()).backward(), {}),
    (ErrorKind.INPUT_UNUSED, has_an_unused_input, {}),
    (ErrorKind.INPUT_WANTS_NO_GRAD, has_an_input_that_wants_none, {}),
    (ErrorKind.WANTS_NO_GRAD, lambda: torch.ones(2).retain_grad(), {}),
    (ErrorKind.WANTS_NO_GRAD, lambda: torch.ones(2).register_hook(print), {}),
    (ErrorKind.NOT_SCALAR, lambda: (wanting(2) * 1).backward(), {}),
    (ErrorKind.NUMBER_HAS_NO_BACKWARD, lambda: wanting().item().backward(), {}),  # type: ignore[union-attr]
    (ErrorKind.NUMBER_HAS_NO_BACKWARD, lambda: wanting(2).detach().numpy().sum().backward(), {}),
    (ErrorKind.FUNCTION_RETURNED_WRONG, lambda: Doubled.apply(wanting(), 2.0).backward(), {"node": "DoubledBackward"}),
    (ErrorKind.INFERENCE_TENSOR, saves_an_inference_tensor, {}),
    (ErrorKind.INFERENCE_TENSOR, writes_to_an_inference_tensor, {}),
    (ErrorKind.LEAF_WRITTEN, lambda: wanting(2).add_(1), {"view": None}),
    (ErrorKind.LEAF_WRITTEN, lambda: wanting(2)[0].add_(1), {"view": "view of a "}),
    (ErrorKind.REPEATED_MEMORY_WRITTEN, lambda: torch.ones(1).expand(3).add_(torch.ones(3)), {}),
    (ErrorKind.VIEW_OF_NO_GRAD_WRITTEN, writes_to_a_view_made_without_grad, {}),
    (ErrorKind.VIEW_OF_FUNCTION_WRITTEN, lambda: Passed.apply(wanting(2) * 1).mul_(2), {}),
    (ErrorKind.ONE_OF_VIEWS_WRITTEN, writes_to_one_of_views, {}),
    (ErrorKind.INTEGER_WANTS_GRAD, lambda: torch.ones(2, dtype=torch.int64).requires_grad_(), {}),
    (ErrorKind.INTEGER_WANTS_GRAD, lambda: torch.tensor([1, 2], requires_grad=True), {}),
    (ErrorKind.PARAMETER_REPLACED, replaces_a_parameter, {"parameter": "weight"}),
    (ErrorKind.FLAG_OF_RESULT_SET, sets_the_flag_of_a_result, {}),
    (ErrorKind.RESULT_DEEP_COPIED, lambda: copy.deepcopy(wanting(2) * 1), {}),
    (ErrorKind.NOTHING_TO_CLIP, lambda: nn.utils.clip_grad_value_([wanting(2)], 1.0), {}),
    (ErrorKind.SCALER_STEPPED_TWICE, lambda: Scaler().steps_twice(), {}),
    (ErrorKind.SCALER_UNSCALED_TWICE, lambda: Scaler().unscales_twice(), {}),
    (ErrorKind.SCALER_UNSCALED_LATE, lambda: Scaler().unscales_late(), {}),
    (ErrorKind.SCALER_NEVER_SCALED, lambda: Scaler().never_scales(), {}),
    (ErrorKind.SCALER_FOUND_NO_GRADIENTS, lambda: Scaler().finds_no_gradients(), {}),
    (ErrorKind.OPTIMIZER_WITHOUT_PARAMETERS, lambda: torch.optim.SGD([], lr=0.1), {}),
    (ErrorKind.PARAMETER_IN_TWO_GROUPS, puts_a_parameter_in_two_groups, {}),
    (ErrorKind.MODULE_NOT_INITIALISED, Hasty, {}),
    (ErrorKind.BATCH_OF_ONE, lambda: nn.BatchNorm1d(3)(torch.ones(1, 3)), {}),
    (ErrorKind.DEVICES_MIXED, mixes_devices, {}),
    (ErrorKind.NONE_USED, lambda: 0.1 * wanting(2).grad, {}),  # type: ignore[operator]
    (ErrorKind.NONE_USED, lambda: torch.ones(2).sub_(wanting(2).grad), {}),  # type: ignore[arg-type]
    (ErrorKind.NONE_USED, lambda: wanting(2).grad.zero_(), {}),  # type: ignore[union-attr]
]

PROVOKED += [
    # backward() and autograd.grad()
    (ErrorKind.LOSS_IS_COMPLEX, lambda: (wanting(2) * 1j).sum().backward(), {}),
    (
        ErrorKind.GRADIENT_HAS_OTHER_SHAPE,
        lambda: wanting(2).mean().backward(torch.ones(1)),
        {"given": "[1]", "wanted": "[]"},
    ),
    (
        ErrorKind.GRADIENT_HAS_OTHER_DTYPE,
        lambda: (wanting(2) * 1j).backward(torch.ones(2)),
        {"given": "torch.float32", "wanted": "torch.complex64"},
    ),
    (ErrorKind.GRADIENT_IS_NO_TENSOR, lambda: torch.autograd.backward(wanting(), ["x"]), {"given": "str"}),
    (ErrorKind.GRADIENT_ASSIGNED, lambda: assigns(torch.ones(3)), {"what": "size", "given": "[3]", "wanted": "[2]"}),
    (
        ErrorKind.GRADIENT_ASSIGNED,
        lambda: assigns(torch.ones(2, dtype=torch.float64)),
        {"what": "dtype", "given": "double", "wanted": "Float"},
    ),
    (
        ErrorKind.GRADIENT_ASSIGNED,
        lambda: assigns(torch.ones(2, device="meta")),
        {"what": "device type", "given": "meta", "wanted": "cpu"},
    ),
    (ErrorKind.GRADIENT_ASSIGNED_NO_TENSOR, lambda: assigns(1.0), {"given": "float"}),
    (ErrorKind.INPUTS_EMPTY, lambda: wanting().backward(inputs=[]), {}),
    (
        ErrorKind.NO_DERIVATIVE,
        lambda: torch.igamma(wanting(2), torch.ones(2)).sum().backward(),
        {"op": "igamma", "input": "input"},
    ),
    (ErrorKind.NO_DERIVATIVE, differentiates_attention_twice, {"op": ATTENTION, "input": None}),
    (
        ErrorKind.NO_FORWARD_DERIVATIVE,
        lambda: jvp(lambda x: torch.cdist(x, x), (EYE,), (EYE,)),
        {"op": "_cdist_forward"},
    ),
    (ErrorKind.NOT_TWICE, differentiates_once_differentiable_twice, {}),
    (ErrorKind.ANOMALY_NAN, finds_nan, {"node": "SqrtBackward0", "place": "0"}),
    # custom Functions, gradcheck, hooks
    (ErrorKind.FUNCTION_WITHOUT_BACKWARD, lambda: NoBackward.apply(wanting()).backward(), {}),
    (ErrorKind.FUNCTION_WITHOUT_FORWARD, lambda: torch.autograd.Function.apply(wanting()), {}),
    (ErrorKind.FUNCTION_SAVES_NO_TENSOR, lambda: SavesNumber.apply(wanting()), {"place": "0", "given": "float"}),
    (ErrorKind.FUNCTION_RETURNED_NO_TENSOR, lambda: ReturnsNumber.apply(wanting()).backward(), {"given": "float"}),
    (ErrorKind.FUNCTION_IS_OLD, lambda: OldStyle()(wanting()), {}),
    (ErrorKind.FUNCTION_WITHOUT_SETUP, lambda: vmap(Passed.apply)(torch.ones(3)), {}),
    (ErrorKind.FUNCTION_WITHOUT_VMAP, lambda: vmap(NewStyle.apply)(torch.ones(3)), {"function": "NewStyle"}),
    (
        ErrorKind.GRADCHECK_DIFFERS,
        lambda: torch.autograd.gradcheck(NewStyle.apply, (EYE.double().requires_grad_(),)),
        {"output": "0", "input": "0"},
    ),
    (ErrorKind.GRADCHECK_WANTS_NOTHING, lambda: torch.autograd.gradcheck(torch.sin, (torch.ones(2),)), {}),
    (
        ErrorKind.GRADCHECK_OVERLAPS,
        lambda: torch.autograd.gradcheck(torch.sin, (wanting(1).double().expand(3),)),
        {"place": "0"},
    ),
    (ErrorKind.HOOK_CHANGES_GRADIENT, lambda: hooks(lambda g: g[:1]), {"hook": "<lambda>", "what": "size"}),
    (ErrorKind.HOOK_CHANGES_GRADIENT, lambda: hooks(lambda g: g.double()), {"hook": "<lambda>", "what": "type"}),
    (ErrorKind.HOOK_RETURNED_NO_TENSOR, lambda: hooks(lambda g: 3.0), {"given": "float"}),
    (
        ErrorKind.HOOK_RETURNED_WRONG_COUNT,
        lambda: hooks_a_module(lambda m, i, o: (i[0], i[0])),
        {"given": "2", "wanted": "1"},
    ),
    (ErrorKind.HOOK_WANTS_LEAF, lambda: (wanting(2) * 1).register_post_accumulate_grad_hook(print), {}),
    (ErrorKind.HOOKED_MODULE_WRITTEN, lambda: hooks_a_module(lambda m, i, o: None).mul_(2), {}),
    # what a graph is in the way of
    (ErrorKind.NUMPY_OF_GRAPH, lambda: (wanting(2) * 2).numpy(), {}),
    (ErrorKind.OUT_OF_GRAPH, lambda: torch.mul(wanting(2), 2, out=torch.empty(2)), {"op": "mul"}),
    (ErrorKind.RESIZED, lambda: (wanting(2) * 2).resize_(4), {}),
    (ErrorKind.VIEW_DETACHED, lambda: (wanting(2) * 2)[0].detach_(), {}),
    (ErrorKind.DATA_WITHOUT_GRADIENT, lambda: setattr(wanting(2), "data", torch.ones(2, dtype=torch.int64)), {}),
    (ErrorKind.DATA_IS_NO_TENSOR, lambda: setattr(wanting(2), "data", 3), {"given": "int"}),
    (ErrorKind.MANY_AS_ONE_NUMBER, lambda: torch.ones(2).item(), {}),
    (ErrorKind.MANY_AS_ONE_NUMBER, lambda: float(torch.ones(2)), {}),
    (ErrorKind.MANY_AS_A_CONDITION, lambda: bool(torch.ones(2)), {}),
    # checkpoints
    (
        ErrorKind.CHECKPOINT_OTHER_TENSORS,
        lambda: recomputes(lambda x: x.exp(), lambda x: x[:1].exp()),
        {"saved": META.format(3), "again": META.format(1)},
    ),
    (
        ErrorKind.CHECKPOINT_OTHER_COUNT,
        lambda: recomputes(lambda x: x.exp(), lambda x: x * 2),
        {"saved": "1", "again": "0"},
    ),
    (ErrorKind.CHECKPOINT_WITHOUT_INPUTS, lambda: asks_a_reentrant_checkpoint(), {}),
    (
        ErrorKind.CHECKPOINT_WITHOUT_GRADIENT,
        lambda: checkpoint(torch.Tensor.detach, wanting(), use_reentrant=True).backward(),
        {},
    ),
    # function transforms
    (ErrorKind.VMAP_RANDOM, lambda: vmap(nn.functional.dropout)(torch.ones(3, 2)), {}),
    (ErrorKind.VMAP_WRITES, lambda: vmap(writes_an_element)(torch.ones(3)), {}),
    (ErrorKind.VMAP_ITEM, lambda: vmap(lambda x: x * x.item())(torch.ones(3)), {}),
    (ErrorKind.VMAP_BRANCHES, lambda: vmap(lambda x: x if x > 0 else -x)(torch.ones(3)), {}),
    (ErrorKind.VMAP_SHAPE_OF_VALUES, lambda: vmap(torch.nonzero)(torch.ones(3, 2)), {}),
    (ErrorKind.VMAP_SHAPE_OF_VALUES, lambda: vmap(lambda x: x[x > 0])(torch.ones(3, 2)), {}),
    (ErrorKind.VMAP_SIZES_DIFFER, lambda: vmap(torch.add)(torch.ones(3), torch.ones(2)), {"sizes": "[3, 2]"}),
    (ErrorKind.VMAP_DIMS, lambda: vmap(torch.add, in_dims=(0,))(torch.ones(3), torch.ones(3)), {}),
    (ErrorKind.VMAP_DIMS, lambda: vmap(torch.add)(torch.ones(3), 3), {}),
    (ErrorKind.VMAP_RETURNS_NO_TENSOR, lambda: vmap(lambda x: 3.0)(torch.ones(3)), {"given": "float"}),
    (ErrorKind.VMAP_BATCH_NORM, lambda: vmap(nn.BatchNorm1d(2))(torch.ones(3, 4, 2)), {}),
    (ErrorKind.TRANSFORM_HAS_NO_MEMORY, lambda: vmap(torch.Tensor.tolist)(torch.ones(3, 2)), {}),
    (ErrorKind.TRANSFORM_TENSOR_ESCAPED, lets_a_tensor_escape, {}),
    (ErrorKind.TRANSFORM_WANTS_SCALAR, lambda: grad(torch.sin)(torch.ones(3)), {"dims": "1"}),
    (ErrorKind.TRANSFORM_WANTS_TENSOR, lambda: grad(lambda x: 3.0)(torch.ones(3)), {"given": "float"}),
    (ErrorKind.TRANSFORM_CALLS_BACKWARD, lambda: grad(torch.Tensor.backward)(torch.ones(())), {}),
    (ErrorKind.TRANSFORM_SETS_FLAG, lambda: grad(lambda x: x.requires_grad_().sum())(torch.ones(3)), {}),
    (ErrorKind.HESSIAN_WANTS_SCALAR, lambda: torch.autograd.functional.hessian(torch.sin, EYE), {"call": "hessian"}),
    (
        ErrorKind.FUNCTION_IS_CONSTANT,
        lambda: torch.autograd.functional.jacobian(torch.Tensor.detach, EYE, strict=True),
        {},
    ),
    (
        ErrorKind.TANGENT_HAS_OTHER_SIZE,
        lambda: jvp(torch.sin, (torch.ones(2),), (torch.ones(3),)),
        {"wanted": "[2]", "given": "[3]"},
    ),
    # clipping and scaling
    (ErrorKind.CLIPPED_NOT_FINITE, clips_nan, {}),
    (ErrorKind.SCALER_UPDATED_EARLY, lambda: Scaler().updates_early(), {}),
    (ErrorKind.SCALER_MEETS_HALF, meets_half, {}),
    (ErrorKind.SCALER_WANTS_TENSOR, lambda: Scaler().scaler.scale(3.0), {}),  # type: ignore[call-overload]
    # optimizers and schedulers
    (ErrorKind.OPTIMIZER_WANTS_LEAF, lambda: torch.optim.SGD([wanting(2) * 2], lr=0.1), {}),
    (ErrorKind.OPTIMIZER_WANTS_TENSORS, lambda: torch.optim.SGD([3], lr=0.1), {"given": "int"}),  # type: ignore[list-item]
    (ErrorKind.OPTIMIZER_WANTS_LIST, lambda: torch.optim.SGD(wanting(2), lr=0.1), {"given": "torch.FloatTensor"}),
    (
        ErrorKind.OPTIMIZER_SETTING,
        lambda: torch.optim.SGD([wanting(2)], lr=-1),
        {"setting": "learning rate", "given": "-1"},
    ),
    (
        ErrorKind.OPTIMIZER_SETTING,
        lambda: torch.optim.Adam([wanting(2)], betas=(2.0, 0.9)),
        {"setting": "beta parameter at index 0", "given": "2.0"},
    ),
    (ErrorKind.OPTIMIZER_NESTEROV, lambda: torch.optim.SGD([wanting(2)], lr=0.1, nesterov=True), {}),
    (ErrorKind.OPTIMIZER_SPARSE, updates_by_a_sparse_gradient, {"optimizer": "Adam"}),
    (
        ErrorKind.OPTIMIZER_ONE_GROUP,
        lambda: torch.optim.LBFGS([{"params": [wanting(2)]}, {"params": [wanting(2)]}]),
        {},
    ),
    (ErrorKind.OPTIMIZER_WANTS_CLOSURE, lambda: torch.optim.LBFGS([wanting(2)]).step(), {"optimizer": "LBFGS"}),  # type: ignore[call-arg]
    (ErrorKind.OPTIMIZER_OTHER_STATE, lambda: sgd(1, 1).load_state_dict(sgd(1).state_dict()), {}),
    (ErrorKind.OPTIMIZER_OTHER_STATE, lambda: sgd(2).load_state_dict(sgd(1).state_dict()), {}),
    (ErrorKind.SCHEDULER_RESUMED, lambda: schedules.StepLR(sgd(1), 1, last_epoch=3), {}),
    (ErrorKind.SCHEDULER_EXHAUSTED, steps_too_often, {"total": "2"}),
    (ErrorKind.SCHEDULER_WANTS_OPTIMIZER, lambda: schedules.StepLR(3, 1), {"given": "int"}),  # type: ignore[arg-type]
    (ErrorKind.SCHEDULER_WANTS_METRIC, lambda: schedules.ReduceLROnPlateau(sgd(1)).step(), {}),  # type: ignore[call-arg]
    (
        ErrorKind.SCHEDULER_WANTS_MOMENTUM,
        lambda: schedules.OneCycleLR(torch.optim.Adagrad([wanting(2)]), 1, total_steps=2),
        {},
    ),
    # modules
    (ErrorKind.MODULE_OTHER_STATE, lambda: nn.Linear(2, 2).load_state_dict({}), {"module": "Linear", "first": MISSING}),
    (ErrorKind.MODULE_LAZY, lambda: nn.LazyLinear(2).weight + 1, {}),
    (ErrorKind.MODULE_WITHOUT_FORWARD, lambda: nn.Module()(1), {"module": "Module"}),
    # several processes
    (ErrorKind.WORKER_SENDS_GRAPH, lambda: list(DataLoader(Rows(graph=True), num_workers=1)), {}),
    (ErrorKind.WORKER_SENDS_GRAPH, lambda: ForkingPickler.dumps(wanting(2) * 2), {}),
    (
        ErrorKind.WORKER_FAILED,
        lambda: list(DataLoader(Rows(graph=False), num_workers=1)),
        {"error": "KeyError", "last": "KeyError: 'gone'"},
    ),
    (ErrorKind.PARALLEL_UNUSED, lambda: parallel(Branches()), {}),
    (ErrorKind.PARALLEL_GRAPH_CHANGED, lambda: parallel(Branches(), lambda step: step > 0, static_graph=True), {}),
    (ErrorKind.PARALLEL_TWICE, lambda: parallel(Rerun(2, 2)), {}),
    (ErrorKind.PARALLEL_WITHOUT_PARAMETERS, lambda: in_a_group(lambda: DistributedDataParallel(nn.ReLU())), {}),
    (ErrorKind.PARALLEL_WITHOUT_GROUP, lambda: DistributedDataParallel(nn.Linear(2, 2)), {}),
    (ErrorKind.PARALLEL_WITHOUT_ADDRESS, lambda: torch.distributed.init_process_group("gloo"), {"variable": "RANK"}),
    (ErrorKind.FUNCTION_TAKES_OTHER_COUNT, takes_one_gradient, {"owner": "Lonely", "method": "backward"}),
    (ErrorKind.MODULE_TAKES_OTHER_COUNT, lambda: nn.ReLU()(torch.ones(1), 2), {"owner": "ReLU"}),
    # shapes and places
    (ErrorKind.VIEW_NEEDS_COPY, lambda: torch.ones(2, 3, 4).transpose(1, 2).view(2, 12), {}),
    (ErrorKind.VIEW_OF_OTHER_COUNT, lambda: torch.ones(2, 3).view(-1, 4), {"wanted": "[-1, 4]", "count": "6"}),
    (ErrorKind.VIEW_OF_OTHER_COUNT, lambda: torch.ones(2, 3).split([1, 1], dim=1), {}),
    (ErrorKind.WRITTEN_IS_SMALLER, lambda: torch.ones(3).add_(torch.ones(2, 3)), {"shape": "[3]"}),
    (
        ErrorKind.STATE_OF_OTHER_BATCH,
        lambda: nn.GRU(2, 3)(torch.ones(4, 5, 2), torch.ones(1, 4, 3)),
        {"wanted": "(1, 5, 3)", "given": "[1, 4, 3]"},
    ),
    (
        ErrorKind.STATE_OF_OTHER_BATCH,
        lambda: nn.LSTM(2, 3)(torch.ones(4, 5, 2), (torch.ones(1, 4, 3), torch.ones(1, 4, 3))),
        {"wanted": "(1, 5, 3)", "given": "[1, 4, 3]"},
    ),
    (ErrorKind.LAYER_HAS_OTHER_SIZE, lambda: nn.Linear(2, 2)(torch.ones(1, 3)), {}),
    (ErrorKind.LAYER_HAS_OTHER_SIZE, lambda: nn.Conv2d(2, 1, 1)(torch.ones(1, 3, 2, 2)), {"wanted": "2"}),
    (ErrorKind.LAYER_HAS_OTHER_SIZE, lambda: nn.BatchNorm1d(2)(torch.ones(4, 3)), {}),
    (ErrorKind.LAYER_HAS_OTHER_SIZE, lambda: nn.LayerNorm(2)(torch.ones(4, 3)), {}),
    (ErrorKind.INPUT_OF_OTHER_WIDTH, lambda: nn.LSTM(2, 3)(torch.ones(4, 5, 3)), {"wanted": "2", "given": "3"}),
    (ErrorKind.TOO_SMALL_FOR_KERNEL, lambda: nn.Conv2d(1, 1, 3)(torch.ones(1, 1, 2, 2)), {}),
    (ErrorKind.TOO_SMALL_FOR_KERNEL, lambda: nn.MaxPool2d(2)(torch.ones(1, 1, 1, 1)), {}),
    (ErrorKind.INDEX_OUT_OF_RANGE, lambda: nn.Embedding(2, 3)(torch.tensor([2])), {}),
    (ErrorKind.INDEX_OUT_OF_RANGE, lambda: nn.EmbeddingBag(2, 3)(torch.tensor([[2]])), {}),
    (ErrorKind.INDEX_OUT_OF_RANGE, lambda: torch.ones(2)[torch.tensor([2])], {}),
    (ErrorKind.INDEX_OUT_OF_RANGE, lambda: torch.ones(2).gather(0, torch.tensor([2])), {}),
    (ErrorKind.INDEX_OUT_OF_RANGE, lambda: nn.functional.one_hot(torch.tensor([2]), 2), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.ones(2) + torch.ones(3), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.ones(2, 3) @ torch.ones(2), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.bmm(torch.ones(2, 3, 4), torch.ones(2, 3, 4)), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.cat([torch.ones(2, 3), torch.ones(2, 4)]), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.stack([torch.ones(2), torch.ones(3)]), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.ones(2).expand(3), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.einsum("i,i->i", torch.ones(2), torch.ones(3)), {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.ones(2)[torch.tensor([True])], {}),
    (ErrorKind.SHAPES_DIFFER, lambda: torch.ones(2, 2).gather(1, torch.tensor([0])), {}),
    (ErrorKind.DIMENSIONS_DIFFER, lambda: torch.ones(2).sum(1), {}),
    (ErrorKind.DIMENSIONS_DIFFER, lambda: torch.ones(2, 3).permute(0, 2, 1), {}),
    (ErrorKind.DIMENSIONS_DIFFER, lambda: nn.Conv2d(1, 1, 1)(torch.ones(2, 2)), {}),
    # dtypes
    (ErrorKind.DTYPES_MIXED, lambda: torch.ones(2, 2) @ torch.ones(2, 2).double(), {"one": "float", "other": "double"}),
    (ErrorKind.DTYPES_MIXED, lambda: torch.ones(2, 2) @ torch.ones(2).double(), {}),
    (ErrorKind.DTYPES_MIXED, lambda: nn.Linear(2, 2)(torch.ones(1, 2).double()), {"one": "Double", "other": "Float"}),
    (
        ErrorKind.DTYPES_MIXED,
        lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2).double()),
        {"given": "double", "wanted": "float"},
    ),
    (
        ErrorKind.DTYPES_MIXED,
        lambda: nn.Conv2d(1, 1, 1)(torch.ones(1, 1, 2, 2, dtype=torch.uint8)),
        {"given": "unsigned char", "wanted": "float"},
    ),
    (
        ErrorKind.DTYPES_MIXED,
        lambda: nn.LSTM(2, 2)(torch.ones(1, 1, 2).double()),
        {"input": "float64", "weight": "float32"},
    ),
    (
        ErrorKind.DTYPES_MIXED,
        lambda: nn.BCELoss()(wanting(2), torch.ones(2).double()),
        {"found": "Double", "expected": "Float"},
    ),
    (ErrorKind.DTYPES_MIXED, lambda: torch.einsum("ij,j->i", torch.ones(2, 2), torch.ones(2).double()), {}),
    (ErrorKind.DTYPES_MIXED, lambda: torch.ones(2).lerp_(torch.ones(2).double(), 0.5), {}),
    (ErrorKind.DTYPES_MIXED, lambda: torch.ones(2).scatter_add_(0, torch.tensor([0]), torch.ones(1).double()), {}),
    (ErrorKind.DTYPES_MIXED, lambda: torch.ones(2).index_put_((torch.tensor([0]),), torch.ones(1).double()), {}),
    (ErrorKind.DTYPE_OF_TARGET, lambda: nn.CrossEntropyLoss()(torch.ones(2, 3), torch.ones(2)), {"given": "Float"}),
    (ErrorKind.DTYPE_OF_INDEX, lambda: nn.Embedding(3, 2)(torch.ones(2)), {"given": "Float"}),
    (ErrorKind.DTYPE_OF_INDEX, lambda: torch.ones(3)[torch.ones(2)], {}),
    (ErrorKind.DTYPE_OF_INDEX, lambda: torch.ones(3).gather(0, torch.ones(2)), {}),
    (ErrorKind.DTYPE_OF_INDEX, lambda: nn.functional.one_hot(torch.ones(2)), {}),
    (ErrorKind.DTYPE_OF_MASK, lambda: torch.ones(2).masked_fill(torch.ones(2), 0), {}),
    (ErrorKind.DTYPE_OF_MASK, lambda: torch.where(torch.ones(2), torch.ones(2), torch.ones(2)), {}),
    (
        ErrorKind.DTYPE_OF_RESULT,
        lambda: torch.ones(2, dtype=torch.int64).add_(0.5),
        {"given": "Float", "wanted": "Long"},
    ),
    (ErrorKind.DTYPE_OF_MEAN, lambda: torch.ones(2, dtype=torch.int64).mean(), {"given": "Long"}),
    (
        ErrorKind.DTYPE_HAS_NO_OP,
        lambda: torch.arange(3).softmax(0),
        {"op": "softmax_lastdim_kernel_impl", "given": "Long"},
    ),
    (ErrorKind.DTYPE_HAS_NO_OP, lambda: torch.arange(3).norm(), {"got": "Long"}),
    (ErrorKind.MASK_SUBTRACTED, lambda: 1 - torch.tensor([True]), {}),
]


@pytest.mark.filterwarnings("ignore")  # what torch warns of before it refuses
@pytest.mark.parametrize(("kind", "provoke", "parts"), PROVOKED, ids=lambda one: getattr(one, "name", None))
def test_torch_says_so(kind: ErrorKind, provoke: Callable[[], object], parts: Mapping[str, str | None]) -> None:
    with pytest.raises(Exception) as raised:
        provoke()
    error = torch_error(str(raised.value))
    assert error.kind is kind, str(raised.value)
    assert {part: value for part, value in error.parts.items() if value} == {k: v for k, v in parts.items() if v}


def test_every_kind_is_told_by_a_check() -> None:
    folder = Path(gradscope.diagnose.checks.__file__).parent
    text = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))
    assert [kind.name for kind in ErrorKind if f"ErrorKind.{kind.name}" not in text] == [
        "OPTIMIZER_WANTS_LEAF",
        "NONE_USED",
    ]  # by the call


def test_every_kind_is_provoked() -> None:
    assert {kind for kind, _, _ in PROVOKED} == set(ErrorKind)


@pytest.mark.parametrize("message", [None, "", "division by zero", "CUDA out of memory"])
def test_other_messages_have_no_kind(message: str | None) -> None:
    assert torch_error(message).kind is None
