"""Why a tensor's `.grad` is None, or why it is no leaf: a walk through the recorded ops to a cause and its line."""

from __future__ import annotations

import ntpath
from collections.abc import Iterator
from dataclasses import dataclass

from .graph import SourceLine
from .moments import Backward, GradChange, LeafChange, OpCall, changed
from .op_kinds import read_inputs
from .origin import first_met
from .recorded import RecordedStep
from .records import Tensor

_LONGEST = 12  # lines of a walk that are told
_CUTS = {
    "detach": "detach() takes it out of the graph",
    "detach_": "detach_() takes it out of the graph",
    "data": ".data is out of autograd's sight",
    "requires_grad_": "requires_grad was switched off",
    "numpy": ".numpy() leaves autograd",
    "item": ".item() makes a plain number of it",
    "tolist": ".tolist() makes plain numbers of it",
}


@dataclass(frozen=True, slots=True)
class Cause:
    """One station of the walk, and its line where it is known."""

    text: str
    line: SourceLine | None = None

    def __str__(self) -> str:
        where = f"{ntpath.basename(self.line.file)}:{self.line.line}  {self.line.code}" if self.line else ""
        return f"{self.text}\n      {where}" if where else self.text


@dataclass(frozen=True, slots=True)
class Explanation:
    """The answer in one sentence, the walk from the tensor to the cause (the last one), and what to do."""

    answer: str
    walk: tuple[Cause, ...] = ()
    fix: str = ""

    @property
    def cause(self) -> Cause | None:
        """Where the walk ends."""
        return self.walk[-1] if self.walk else None

    def __str__(self) -> str:
        lines = [self.answer, *(f"  {number}. {cause}" for number, cause in enumerate(self.walk, 1))]
        return "\n".join([*lines, *([f"  fix: {self.fix}"] if self.fix else [])])


def explain(step: RecordedStep, tensor: int) -> Explanation:
    """Tensor `tensor` of `step`, as it was at the end of what was recorded."""
    return _Walk(step).explain(tensor)


class _Walk:
    def __init__(self, step: RecordedStep) -> None:
        self.step = step
        self.trace = step.trace

    def explain(self, number: int) -> Explanation:
        tensor = self._now(number)
        if not tensor.requires_grad:
            return self._no_grad(tensor)
        if tensor.is_leaf:
            return self._leaf(tensor)
        return self._result(tensor)

    def _now(self, number: int) -> Tensor:
        """The tensor with the last autograd status that the step recorded of it."""
        tensor = self.step.tensors[number]
        for change in self.step.moments:
            if isinstance(change, LeafChange) and change.tensor == number:
                tensor = changed(tensor, change)
        return tensor

    # -- it does not require a gradient ----------------------------------------------------------------

    def _no_grad(self, tensor: Tensor) -> Explanation:
        walk = tuple(self._cut_before(self.step, tensor))
        return Explanation(
            f"{self._grad(tensor)} is None, and backward never reaches it: it does not require a gradient.",
            walk,
            "ask for the gradient where the walk ends: requires_grad=True on what you made, or no detach / no_grad "
            "on the way",
        )

    def _cut_before(self, step: RecordedStep, tensor: Tensor) -> Iterator[Cause]:
        """From the tensor back to where its path was cut, or to what was made without requires_grad."""
        for _ in range(_LONGEST):
            name = self._name(step, tensor)
            changed = [
                moment
                for moment in step.moments
                if isinstance(moment, LeafChange) and moment.tensor == tensor.number and not moment.requires_grad
            ]
            if changed:
                why = _CUTS.get(changed[-1].cause, f"{changed[-1].cause} made it so")
                yield Cause(f"{name}: {why}", self._line(changed[-1].stack))
                return
            home, first = first_met(step, tensor)
            made = home.moments[first.made_by] if first.made_by is not None else None
            if not isinstance(made, OpCall) or not read_inputs(made):
                line = self._line(made.stack if made is not None else first.first_use)
                asked = "it was frozen" if first.role == "parameter" else "it was made without requires_grad=True"
                yield Cause(f"{name}: {asked}", line)
                return
            inputs = [home.tensors[number] for number in read_inputs(made)]
            if any(one.requires_grad for one in inputs):
                why = f"{made.name} gives what has no derivative ({first.dtype})"
                if not made.grad_enabled:
                    why = f"{made.name} ran under no_grad"
                elif first.is_inference:
                    why = f"{made.name} ran under inference_mode"
                yield Cause(f"{name}: {_CUTS.get(made.name, why)}", self._line(made.stack))
                return
            names = ", ".join(self._name(home, one) for one in inputs)
            yield Cause(
                f"{name}: {made.name} made it of {names}; none of them needs a gradient", self._line(made.stack)
            )
            step, tensor = home, max(inputs, key=lambda one: (one.made_by is not None, one.dtype.startswith("float")))

    # -- a leaf ------------------------------------------------------------------------------------------

    def _leaf(self, tensor: Tensor) -> Explanation:
        grad = self._grad(tensor)
        changes = [
            moment for moment in self.step.moments if isinstance(moment, GradChange) and tensor.number in moment.tensors
        ]
        if changes and changes[-1].has_grad:
            words = {"created": "filled it", "accumulated": "added to it", "zeroed": "set it to zero"}
            what = words.get(changes[-1].change, "changed it")
            return Explanation(
                f"{grad} is there.", (Cause(f"the last to touch it {what}", self._line(changes[-1].stack)),)
            )
        if changes:
            cause = Cause("the gradient was there, and this line set it to None", self._line(changes[-1].stack))
            return Explanation(f"{grad} is None: it was cleared.", (cause,), "read it before zero_grad()")
        ran = [moment for moment in self.step.moments if isinstance(moment, Backward)]
        if not ran:
            return Explanation(
                f"{grad} is None: no backward has run since this step began.",
                fix="call backward() on the loss before reading it",
            )
        walk = tuple(self._cut_after(tensor))
        return Explanation(
            f"{grad} is None: the backward at {self._where(ran[-1].stack)} did not reach it.",
            walk or (Cause(f"no op used {self._name(self.step, tensor)} in this step"),),
            "keep the path from it to the loss whole: no detach, no_grad, .item() or new tensor from numbers on it",
        )

    def _cut_after(self, tensor: Tensor) -> Iterator[Cause]:
        """From a leaf on through the ops that used it, to the one whose result lost the gradient. Iterative."""
        users: dict[int, list[OpCall]] = {}
        for moment in self.step.moments:
            if isinstance(moment, OpCall):
                for number in read_inputs(moment):
                    users.setdefault(number, []).append(moment)
        waiting, seen, told = [tensor.number], {tensor.number}, 0
        while waiting and told < _LONGEST:
            for op in users.get(waiting.pop(0), ()):
                outputs = [self.step.tensors[number] for number in op.outputs]
                told += 1
                if not any(one.requires_grad for one in outputs):
                    why = _CUTS.get(op.name, f"{op.name} gives what has no derivative")
                    why = f"{op.name} ran under no_grad" if not op.grad_enabled else why
                    yield Cause(f"here the path ends: {why}", self._line(op.stack))
                    continue
                fresh = [number for number in op.outputs if number not in seen]
                if fresh:
                    names = ", ".join(self._name(self.step, self.step.tensors[number]) for number in fresh)
                    yield Cause(f"{op.name} used it to make {names}", self._line(op.stack))
                seen.update(fresh)
                waiting.extend(fresh)

    # -- a result ------------------------------------------------------------------------------------------

    def _result(self, tensor: Tensor) -> Explanation:
        name = self._name(self.step, tensor)
        code = self._code(self.step, tensor)
        asking = f"{code}.retain_grad()" if code else "retain_grad() on it"
        kept = "retain_grad() asks to keep it" if tensor.retains_grad else "its .grad stays None"
        return Explanation(
            f"{name} is not a leaf: {tensor.grad_fn} made it, so {kept}. Its gradient passes on to what it was made "
            "from:",
            tuple(self._path_to_leaves(tensor)),
            "" if tensor.retains_grad else f"{asking} before backward() keeps its gradient",
        )

    def _path_to_leaves(self, tensor: Tensor) -> Iterator[Cause]:
        """The ops that the gradient passes through, and the leaves it ends in. Iterative."""
        waiting: list[tuple[RecordedStep, Tensor]] = [(self.step, tensor)]
        seen: set[tuple[int, int]] = set()
        told = 0
        while waiting and told < _LONGEST:
            step, one = first_met(*waiting.pop(0))
            if (step.number, one.number) in seen or not one.requires_grad:
                continue
            seen.add((step.number, one.number))
            told += 1
            made = step.maker(one.number)
            if one.is_leaf or made is None:
                yield Cause(f"{self._name(step, one)}: a leaf; its .grad is filled", self._line(one.first_use))
                continue
            inputs = [step.tensors[number] for number in read_inputs(made)]
            names = ", ".join(self._name(step, each) for each in inputs if each.requires_grad)
            yield Cause(f"{self._name(step, one)}: through {one.grad_fn} to {names}", self._line(made.stack))
            waiting.extend((step, each) for each in inputs)

    # -- words ---------------------------------------------------------------------------------------------

    def _grad(self, tensor: Tensor) -> str:
        code = self._code(self.step, tensor)
        return f"{code}.grad" if code else f"the .grad of {self._name(self.step, tensor)}"

    def _code(self, step: RecordedStep, tensor: Tensor) -> str:
        """What the script calls it, "" where it does not."""
        return tensor.name or first_met(step, tensor)[1].name

    def _name(self, step: RecordedStep, tensor: Tensor) -> str:
        code = self._code(step, tensor)
        if code:
            return code
        home, first = first_met(step, tensor)
        made = home.maker(first.number)
        return f"the result of {made.name}" if made is not None else "a tensor without a name"

    def _line(self, stack: int | None) -> SourceLine | None:
        return next(iter(self.trace.source_lines(stack)), None)

    def _where(self, stack: int | None) -> str:
        line = self._line(stack)
        return f"{ntpath.basename(line.file)}:{line.line}" if line else "an unknown line"
