"""Random little programs, as traces: ops, views, writes in place, cuts, several backwards, updates."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from gradscope.model.moments import GradChange, LeafChange, OpCall
from gradscope.model.records import Detail, Phase, StepKind
from gradscope.model.trace import Trace
from tests import builders
from tests.builders import StepBuilder, TraceBuilder


@st.composite
def programs(draw: st.DrawFn, steps: int = 2) -> Trace:
    """A trace of up to `steps` steps, each of some ops over some leaves and parameters."""
    trace = TraceBuilder("line\n" * 60, "random.py")
    parameters = [
        trace.parameter(f"fc{i}.weight", (2,), requires_grad=draw(st.booleans()))
        for i in range(draw(st.integers(0, 3)))
    ]
    trace.module("", "Net")
    modules = [trace.module(f"fc{i}", "Linear", 0) for i in range(2)]
    trace.optimizer("SGD", parameters)
    for number in range(draw(st.integers(1, steps))):
        step = trace.step(number, StepKind.TRAIN, draw(st.sampled_from((Detail.FULL, Detail.GRAPH))))
        _Program(draw, trace, step, parameters, modules).write()
        step.done(loss=draw(st.none() | st.floats(-1e6, 1e6)), lr=draw(st.none() | st.floats(0, 1)))
    return trace.trace()


class _Program:
    """One step's random program."""

    def __init__(
        self, draw: st.DrawFn, trace: TraceBuilder, step: StepBuilder, parameters: list[int], modules: list[int]
    ) -> None:
        self.draw, self.trace, self.step, self.modules = draw, trace, step, modules
        self.weights = [step.parameter(parameter) for parameter in parameters]
        self.live = [*self.weights, step.tensor("x", (2,))]
        self.versions: dict[int, int] = {}
        self.line = 0

    def write(self) -> None:
        draw, step = self.draw, self.step
        actions = (self.leaf, self.op, self.op, self.op, self.cut, self.in_place, self.read, self.same)
        cleared = draw(st.booleans())
        if self.weights and cleared:
            step.zero_grad(line=1, tensors=self.weights)
        for _ in range(draw(st.integers(1, 10))):
            self.line += 1
            actions[draw(st.integers(0, len(actions) - 1))]()
        for _ in range(draw(st.integers(0, 2))):
            self.backward()
        if draw(st.booleans()):
            step.update(0, [weight for weight in self.weights if step.tensors[weight].requires_grad], line=50)

    def some(self) -> int:
        return self.draw(st.sampled_from(self.live))

    def leaf(self) -> None:
        needs = self.draw(st.booleans())
        self.live.append(self.step.leaf(f"l{self.line}", [1.0, 2.0], self.line, requires_grad=needs))

    def op(self) -> None:
        self.step.grad_enabled = self.draw(st.integers(0, 4)) > 0
        inputs = self.draw(st.lists(st.sampled_from(self.live), min_size=1, max_size=3))
        self.live.append(
            self.step.op(
                "mul",
                inputs,
                f"t{self.line}",
                line=self.line,
                shape=(2,),
                grad_fn="MulBackward0",
                composite=self.draw(st.sampled_from(((), ("ViewBackward0",), ("ViewBackward0", "ViewBackward0")))),
                saved=inputs[: self.draw(st.integers(0, 2))],
                module=self.draw(st.sampled_from((None, *self.modules))),
            )
        )
        self.step.grad_enabled = True

    def cut(self) -> None:
        source = self.some()
        recorded = self.draw(st.booleans())
        stack = self.trace.line(self.line)
        if recorded:
            made = self.step.op("detach", (source,), f"d{self.line}", line=self.line, shape=(2,))
        else:
            made = self.step.tensor(f"d{self.line}", (2,), storage=self.step.tensors[source].storage)
        self.step.add(LeafChange(self.step.phase, stack, made, source, "detach", False, True, None, False))
        self.live.append(made)

    def in_place(self) -> None:
        """`target.add_(other)`, with the grad node that torch would put on top."""
        step, target, other = self.step, self.some(), self.some()
        if target in self.weights or (step.tensors[target].requires_grad and step.tensors[target].is_leaf):
            return
        before = self.versions.get(target, 0)
        self.versions[target] = before + 1
        moment = step.mutate(target, "add_", (other,), line=self.line, before=before, after=before + 1)
        if not any(step.tensors[tensor].requires_grad for tensor in (target, other)) or other == target:
            return
        node = step._node(builders._Node("AddBackward0", moment, outputs=(target,)))
        for index, tensor in enumerate((target, other)):
            if step.tensors[tensor].requires_grad:
                step._nodes[node].targets.append((step._function_of(tensor), index, 0))
        step._grad_fn[target] = node
        facts = step.tensors[target]
        step.tensors[target] = replace(facts, requires_grad=True, is_leaf=False, grad_fn="AddBackward0", role="tensor")

    def read(self) -> None:
        self.step.add(OpCall(self.step.phase, self.trace.line(self.line), "item", (self.some(),), ()))

    def same(self) -> None:
        """An op that returns its input as it is."""
        source = self.some()
        self.step.add(OpCall(self.step.phase, self.trace.line(self.line), "contiguous", (source,), (source,)))

    def backward(self) -> None:
        roots = [tensor for tensor in self.live if self.step.tensors[tensor].requires_grad]
        if not roots:
            return
        root = self.draw(st.sampled_from(roots))
        self.step.phase = Phase.BACKWARD
        self.step.backward(root, line=55)
        if self.draw(st.booleans()):
            self.step.phase = Phase.BACKWARD
            self.step.add(GradChange(Phase.BACKWARD, self.trace.line(55), (root,), "created", True))
            self.step.phase = Phase.LOSS
