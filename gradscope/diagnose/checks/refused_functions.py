"""Code that torch calls back and that does not keep to its rules: custom Functions, hooks, function transforms."""

from __future__ import annotations

from collections.abc import Iterator

from ...model.findings import Finding, Severity
from ...model.moments import Failure
from ..evidence.index import Case, Event
from ..evidence.refusals import Cause, Meaning, behind, told
from ..evidence.source_lines import called_in, definition, owner_of, returned
from ..evidence.torch_errors import ErrorKind
from ..evidence.wording import call_at
from ..rules import Rule, check, finding_of

FUNCTION_REFUSED = Rule(
    "GS815", "custom-function-refused", Severity.ERROR, "A custom Function is not written as autograd needs it."
)
GRADCHECK_FAILED = Rule(
    "GS816", "gradcheck-failed", Severity.ERROR, "gradcheck found a wrong gradient, or could not check it."
)
HOOK_REFUSED = Rule(
    "GS817",
    "hook-refused",
    Severity.ERROR,
    "A hook returned what does not fit, or cannot stand there.",
    yields_to=frozenset({"GS201", "GS303", "GS309"}),  # why the tensor requires no gradient
)
TRANSFORM_REFUSED = Rule(
    "GS431", "function-transform-refused", Severity.ERROR, "vmap, grad or jvp cannot follow what the function does."
)


def _defined(case: Case, _event: Event[Failure]) -> Cause | None:
    """Where the method that the message names is defined."""
    parts = case.error.parts
    return Cause(definition(case, parts.get("owner") or "", parts.get("method") or ""), "torch calls it from here")


def _saving(case: Case, _event: Event[Failure]) -> Cause | None:
    """The call of save_for_backward in the Function that the line applies."""
    last = case.failure
    owner = owner_of(call_at(case, last.moment.stack, ""), "apply") if last is not None else ""
    return Cause(called_in(case, owner, ("forward", "setup_context"), "save_for_backward"), "applied here")


def _in_hook(case: Case, _event: Event[Failure]) -> Cause | None:
    """What the hook that the message names returns."""
    return Cause(returned(case, case.error.parts.get("hook") or ""), "the backward that runs the hook")


def _written_module(case: Case, event: Event[Failure]) -> Cause | None:
    """The module that works in place, if the write was one's: the last that was called."""
    calls = [call for call in event.step.template.calls if call.moment <= event.position]
    module = case.modules.get(calls[-1].module) if calls else None
    place = case.place(module.stack) if module is not None else None
    return Cause(place, "it is written to here") if place is not None and "inplace" in place.code else None


def _batch_norm(case: Case, event: Event[Failure]) -> Cause | None:
    """Where the BatchNorm that was called last was made."""
    calls = [call for call in event.step.template.calls if call.moment <= event.position]
    called = [case.modules[call.module] for call in calls if call.module in case.modules]
    norms = [module for module in called if module.type.startswith("BatchNorm")]
    return Cause(case.place(norms[-1].stack), "called here, under vmap") if norms else None


_FUNCTIONS = {
    ErrorKind.FUNCTION_WITHOUT_BACKWARD: Meaning(
        "a custom Function has no backward of its own",
        "A Function has a static method `backward` that returns one gradient for each input of forward.",
        "write `@staticmethod def backward(ctx, grad)`; mind the name and the indentation",
    ),
    ErrorKind.FUNCTION_WITHOUT_FORWARD: Meaning(
        "a custom Function has no forward of its own",
        "A Function has a static method `forward` that computes its result.",
        "write `@staticmethod def forward(ctx, x)`; mind the name and the indentation",
    ),
    ErrorKind.FUNCTION_SAVES_NO_TENSOR: Meaning(
        "save_for_backward was given a {given}, as argument {place}",
        "save_for_backward keeps tensors, and checks later that they were not changed. Other values need no such care.",
        "keep it as an attribute: ctx.scale = scale; save_for_backward for the tensors alone",
        _saving,
    ),
    ErrorKind.FUNCTION_TAKES_OTHER_COUNT: Meaning(
        "{owner}.{method} takes other arguments than torch gives it",
        "torch calls it: backward(ctx, …) gets one gradient for each result of forward, setup_context(ctx, inputs, "
        "output) the two tuples.",
        "give backward one argument for each result of forward, after ctx: def backward(ctx, grad_first, grad_second)",
        _defined,
    ),
    ErrorKind.FUNCTION_RETURNED_NO_TENSOR: Meaning(
        "a custom Function's backward returned a {given}",
        "It returns a tensor for each input of forward that needs a gradient, and None for each that needs none.",
        "return grad * value, or None",
    ),
    ErrorKind.FUNCTION_IS_OLD: Meaning(
        "a custom Function is used the old way: as an object with a forward method",
        "forward and backward are static methods that get a ctx, and the Function is used by its apply.",
        "write `@staticmethod def forward(ctx, x)` and call {call} as MyFunction.apply(x)",
    ),
    ErrorKind.FUNCTION_WITHOUT_SETUP: Meaning(
        "a custom Function with a ctx in forward is used inside a function transform (vmap, grad, jvp)",
        "The transform calls forward without a ctx, so that saving has to be done apart.",
        "write forward(x) without ctx, and `@staticmethod def setup_context(ctx, inputs, output)` for what is saved",
    ),
    ErrorKind.FUNCTION_WITHOUT_VMAP: Meaning(
        "{function} is a custom Function that does not say how it works under vmap",
        "torch cannot know what a Function does to one more dimension.",
        "write `generate_vmap_rule = True` in {function}, if it is made of torch ops; else a vmap static method",
    ),
}

_GRADCHECK = {
    ErrorKind.GRADCHECK_DIFFERS: Meaning(
        "gradcheck: the gradient of result {output} for input {input} is not the slope that was measured",
        "gradcheck moves each value a little and compares. In float32 the slope itself is off by more than it "
        "allows; in "
        "float64 the backward is wrong, or the function has a kink there, or does not give the same twice.",
        "give it inputs in float64: torch.randn(3, dtype=torch.double, requires_grad=True); if they are, compare the "
        "two matrices in the message with the formula in backward",
    ),
    ErrorKind.GRADCHECK_WANTS_NOTHING: Meaning(
        "gradcheck was given no input that requires a gradient",
        "It checks the gradients of the inputs that require one.",
        "torch.randn(3, dtype=torch.double, requires_grad=True)",
    ),
    ErrorKind.GRADCHECK_OVERLAPS: Meaning(
        "gradcheck's input {place} is expanded: several of its elements are one memory cell",
        "It moves one element at a time, and here several would move at once.",
        "give it a real copy: x.contiguous()",
    ),
}

_HOOKS = {
    ErrorKind.HOOK_CHANGES_GRADIENT: Meaning(
        "the hook {hook} returned a gradient of another {what}",
        "What a hook returns takes the gradient's place, so it must have its shape, dtype and device.",
        "return a tensor like the one it was given (grad * mask), or None to leave it as it is",
        _in_hook,
    ),
    ErrorKind.HOOK_RETURNED_NO_TENSOR: Meaning(
        "a hook returned a {given} for a gradient",
        "What a hook returns takes the gradient's place. A hook that only looks returns nothing.",
        "return a tensor like the one it was given, or nothing (a lambda always returns: write a function)",
    ),
    ErrorKind.HOOK_RETURNED_WRONG_COUNT: Meaning(
        "a module's backward hook returned {given} gradients, and the module has {wanted} inputs",
        "What it returns takes the place of grad_input: one gradient for each positional input of the module.",
        "return a tuple of {wanted}, or nothing",
    ),
    ErrorKind.WANTS_NO_GRAD: Meaning(
        "a hook, or retain_grad(), is asked of {name}, which requires no gradient",
        "No gradient ever comes to it: it was detached, made under no_grad, or made of tensors that require none.",
        "ask the tensor before the detach(); or let it require a gradient when it is made: {code}.requires_grad_()",
    ),
    ErrorKind.HOOK_WANTS_LEAF: Meaning(
        "a hook on accumulated gradients was registered on {name}, which is a result",
        "Only a leaf accumulates gradients in .grad.",
        "register it on the parameter, or use register_hook on the result",
    ),
    ErrorKind.HOOKED_MODULE_WRITTEN: Meaning(
        "{name} went through a module with a full backward hook, and was then changed in place",
        "The hook makes the module's inputs and results views that must stay as they are. A write in place "
        "(ReLU(inplace=True), +=) breaks that.",
        "work out of place there: nn.ReLU(), x = x + y; or put the hook on another module, or use a tensor hook",
        _written_module,
    ),
}

_TRANSFORMS = {
    ErrorKind.VMAP_RANDOM: Meaning(
        "vmap meets a random op (dropout, randn) and was not told what randomness is meant",
        "Over a batch the same numbers can be drawn for all, or others for each. vmap does not guess.",
        'say so where vmap is called: vmap(..., randomness="different") or "same"; or put the model in eval() if no '
        "dropout is meant",
        behind,
    ),
    ErrorKind.VMAP_WRITES: Meaning(
        "inside vmap, {call} writes one value for each of the batch into a tensor that is there only once",
        "The tensor was made without the batch, so it has no room for one value for each of its members.",
        "work out of place: torch.stack or torch.cat the parts; or make it from the input: torch.zeros_like(x), "
        "x.new_zeros(n)",
    ),
    ErrorKind.VMAP_ITEM: Meaning(
        "inside vmap, one number is asked of a tensor that holds one for each of the batch",
        "item(), float(), torch.tensor([x]) and printing want a number, and under vmap there are many.",
        "stay in tensors: torch.where(condition, a, b) in the place of `if`, torch.stack([x, y]) in that of "
        "torch.tensor([x, y])",
    ),
    ErrorKind.VMAP_BRANCHES: Meaning(
        "inside vmap, a branch depends on a tensor's value",
        "The function runs once for the whole batch, so it cannot take one way for some and another for others.",
        "compute both and choose: torch.where(condition, a, b)",
    ),
    ErrorKind.VMAP_SHAPE_OF_VALUES: Meaning(
        "inside vmap, the size of a result depends on values (a mask as index, nonzero, unique)",
        "Each of the batch would get a result of another size.",
        "keep the size: torch.where(mask, x, 0), or x * mask",
    ),
    ErrorKind.VMAP_SIZES_DIFFER: Meaning(
        "vmap maps over dimensions of different sizes: {sizes}",
        "All that is mapped over is walked in step.",
        "give None in in_dims for what is the same for all (parameters), and the right dimension for the rest",
    ),
    ErrorKind.VMAP_DIMS: Meaning(
        "vmap's in_dims do not fit what the function is given",
        "in_dims has one entry for each argument, shaped like it: a dimension to map over, or None for what is the "
        "same "
        "for all, or is no tensor.",
        "count the arguments: in_dims=(None, 0, 0) for f(params, x, y)",
    ),
    ErrorKind.VMAP_RETURNS_NO_TENSOR: Meaning(
        "the function under vmap returns a {given}",
        "Its results are put together along a new dimension, so they are tensors.",
        "return a tensor; or out_dims=None for what is the same for all",
    ),
    ErrorKind.VMAP_BATCH_NORM: Meaning(
        "BatchNorm under vmap would write its running mean, which is there only once",
        "Each of the batch has other statistics, and the module has one buffer for them.",
        "replace it by GroupNorm or BatchNorm(track_running_stats=False), or call the model in eval()",
        _batch_norm,
    ),
    ErrorKind.TRANSFORM_HAS_NO_MEMORY: Meaning(
        "inside a function transform, the values of a tensor are asked for (numpy, tolist, data_ptr)",
        "The tensor stands for many values, or for one that is being traced, and has no memory of its own.",
        "compute it with torch; take the values out after the transform has returned",
    ),
    ErrorKind.TRANSFORM_TENSOR_ESCAPED: Meaning(
        "a tensor of a function under vmap is used after the function has returned",
        "It was kept in a list, an attribute or a global. Outside of the transform it has no meaning.",
        "return it from the function instead: vmap and grad(has_aux=True) hand it out",
    ),
    ErrorKind.TRANSFORM_WANTS_SCALAR: Meaning(
        "grad's function returns a tensor with {dims} dimensions, and grad needs one number",
        "A gradient is the derivative of one number.",
        "return loss.sum() or .mean(); torch.func.jacrev for all derivatives, vmap(grad(f)) for one for each sample",
        behind,
    ),
    ErrorKind.TRANSFORM_WANTS_TENSOR: Meaning(
        "grad's function returns a {given}, no tensor",
        "What is differentiated is a tensor of one number.",
        "return the loss itself, without item() or float(); has_aux=True if it returns more than the loss",
        behind,
    ),
    ErrorKind.TRANSFORM_CALLS_BACKWARD: Meaning(
        "backward() is called inside a function transform",
        "grad, vmap and vjp compute gradients themselves, from what the function returns.",
        "return the loss and let torch.func.grad differentiate it; or call backward() outside",
    ),
    ErrorKind.TRANSFORM_SETS_FLAG: Meaning(
        "requires_grad is set inside a function transform",
        "There it is the transform that says what is differentiated: its argument.",
        "leave requires_grad_() out, and make the tensor an argument of the function: grad(f, argnums=...)",
    ),
    ErrorKind.HESSIAN_WANTS_SCALAR: Meaning(
        "{call}'s function returns several numbers, and needs to return one",
        "Second derivatives are taken of one number.",
        "return its sum or mean; of several numbers take the jacobian",
    ),
    ErrorKind.FUNCTION_IS_CONSTANT: Meaning(
        "what the function returns does not depend on its input (strict=True)",
        "It was computed from something else, or detached on the way.",
        "compute the result from the argument itself, without detach(), item() or a closure's older tensor",
    ),
    ErrorKind.TANGENT_HAS_OTHER_SIZE: Meaning(
        "a tangent has size {given}, and its tensor {wanted}",
        "A tangent is a direction in which the tensor moves: one number for each of its values.",
        "make it like the input: torch.ones_like(x)",
    ),
}


@check(FUNCTION_REFUSED, GRADCHECK_FAILED, HOOK_REFUSED, TRANSFORM_REFUSED)
def refused_functions(case: Case) -> Iterator[Finding]:
    """The error that ended the script, if torch refused code that it calls back."""
    for rule, meanings in (
        (FUNCTION_REFUSED, _FUNCTIONS),
        (GRADCHECK_FAILED, _GRADCHECK),
        (HOOK_REFUSED, _HOOKS),
        (TRANSFORM_REFUSED, _TRANSFORMS),
    ):
        yield from finding_of(case, rule, told(case, meanings))


CHECKS = (refused_functions,)
