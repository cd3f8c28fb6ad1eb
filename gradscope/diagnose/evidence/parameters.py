"""Who owns each parameter, and since when: where it was made, registered, unfrozen, given to an optimizer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

from ...model.findings import Place
from ...model.moments import (
    Backward,
    GradChange,
    LeafChange,
    Mutation,
    OpCall,
    OptimizerChange,
    OptimizerStep,
    Registration,
)
from ...model.records import Site
from ...model.trace import Step
from .dataflow import Dataflow
from .grad_lifetimes import FILLS, GradLifetimes
from .index import Case, at, once_a_case, shared_frames


class When(NamedTuple):
    """A point of the recording: a step's number and a moment of it. They compare in time."""

    step: int
    moment: int


BEFORE_ALL = When(-(1 << 31), 0)


class Fact(NamedTuple):
    """Something that happened to a parameter: when, at which stack, and what (a `requires_grad`, an attribute)."""

    when: When
    stack: int | None
    what: str = ""


class Ownership:
    """Facts about the parameters of a case, each list in the order of time."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.made: dict[int, Fact] = {}
        self.registered: dict[int, list[Fact]] = defaultdict(list)
        self.wanted: dict[int, list[Fact]] = defaultdict(list)  # requires_grad was set: "True" or "False"
        self.built: dict[int, Fact] = {}  # by optimizer
        self.inside: set[int] = set()  # parameters that a module's forward made
        self._read_leaf_changes()
        for registration in case.events(Registration):
            moment, step = registration.moment, registration.step
            fact = Fact(When(step.number, registration.position), moment.stack, f"{moment.owner}.{moment.name}")
            for one in step.parameters_of(moment.tensors):
                self.registered[one].append(fact)
        for change in case.events(OptimizerChange):
            if change.moment.group is None:
                when = When(change.step.number, change.position)
                self.built.setdefault(change.moment.optimizer, Fact(when, change.moment.stack))

    @staticmethod
    @once_a_case
    def of(case: Case) -> Ownership:
        return Ownership(case)

    def _read_leaf_changes(self) -> None:
        for step, position, moment in self.case.events(LeafChange):
            one = step.tensors[moment.tensor].parameter
            if one is None:
                continue
            when = When(step.number, position)
            if moment.cause == "Parameter":
                if one not in self.made:
                    self.made[one] = Fact(when, moment.stack)
                    if self._in_a_module(step, moment):
                        self.inside.add(one)
            elif moment.cause == "requires_grad_":
                self.wanted[one].append(Fact(when, moment.stack, str(moment.requires_grad)))

    @staticmethod
    def _in_a_module(step: Step, change: LeafChange) -> bool:
        """Whether the parameter was made while a module ran: its data came from an op of that module's forward."""
        op = step.maker(change.source) if change.source is not None else None
        return op is not None and op.module is not None

    def copied(self, parameter: int, others: Collection[int]) -> bool:
        """Whether the parameter was made of the values of one of `others`, perhaps by way of other copies."""
        waiting = [parameter]
        for one in waiting:
            behind = [source for source in self._made_of(one) if source not in waiting]
            if any(source in others for source in behind):
                return True
            waiting += behind
        return False

    def _made_of(self, parameter: int) -> Sequence[int]:
        """The parameters of whose values a parameter was made: by a deep copy, or of a part."""
        made = self.made.get(parameter)
        step = self.case.like(made.when.step) if made is not None else None
        change = step.moments[made.when.moment] if made is not None and step is not None else None
        if made is None or step is None or not isinstance(change, LeafChange) or change.source is None:
            return ()
        behind, _ = Dataflow.of(self.case, step).behind([change.source], made.when.moment)
        return step.parameters_of(sorted(behind))

    def wraps(self, late: Fact, optimizer: int) -> bool:
        """Whether a registration is one of a module's that is built around what the optimizer has: its first home."""
        outer = self.case.sites(late.stack)[1:]
        return any(
            fact.when.step == late.when.step
            and fact.what.partition(".")[0] == late.what.partition(".")[0]
            and self.case.sites(fact.stack)[1:] == outer
            for one in self.case.members.get(optimizer, ())
            for fact in self.registered.get(one, ())
            if fact.when > self.built[optimizer].when
        )

    # -- gradients and updates -----------------------------------------------------------------------

    @cached_property
    def filled(self) -> Mapping[int, Sequence[Step]]:
        """The distinct steps in which a backward gave each parameter a gradient."""
        found: dict[int, dict[int, Step]] = defaultdict(dict)
        for event in self.case.events(GradChange):
            if event.moment.change in FILLS:
                for one in event.step.parameters_of(event.moment.tensors):
                    found[one][event.step.number] = event.step
        return {one: tuple(steps.values()) for one, steps in found.items()}

    @cached_property
    def reached(self) -> frozenset[int]:
        """The parameters that had a gradient in any step: norms are measured in those, too, whose ops were not seen."""
        return frozenset(self.filled) | {
            one for row in self.case.rows for one, _, grad in row.norms if grad is not None
        }

    def rounds(self, parameter: int) -> int:
        """In how many steps a backward gave the parameter a gradient."""
        return sum(len(self.case.repeats(step)) for step in self.filled.get(parameter, ()))

    @cached_property
    def updated(self) -> frozenset[int]:
        """Parameters that an optimizer has, or that were updated by hand."""
        slots = GradLifetimes.of(self.case)
        by_hand = {one for use in slots.updates if use.optimizer is None for one in use.slots}
        owned = {one for members in self.case.members.values() for one in members}
        return frozenset(by_hand | owned)

    @cached_property
    def acting(self) -> Mapping[int, Sequence[int]]:
        """The optimizers that updated something in each distinct step, by the step's number."""
        found: dict[int, list[int]] = defaultdict(list)
        for use in GradLifetimes.of(self.case).updates:
            if use.optimizer is not None:
                found[use.step.number].append(use.optimizer)
        return found

    @cached_property
    def differentiated(self) -> frozenset[int]:
        """Parameters that the script asked `autograd.grad` for, or whose `.grad` it read: it uses their gradient."""
        found: set[int] = set()
        for step in self.case.distinct:
            for tensor in step.tensors:
                leaf = tensor.gradient_of
                if leaf is not None and (one := step.tensors[leaf].parameter) is not None:
                    found.add(one)
            for event in self.case.events(Backward, step):
                found.update(step.parameters_of(event.moment.inputs))
        return frozenset(found)

    # -- places --------------------------------------------------------------------------------------

    def stack_of(self, parameter: int) -> int | None:
        """Where the parameter was made, if that was seen."""
        made = self.made.get(parameter)
        return made.stack if made is not None else self.case.parameters[parameter].stack

    def made_by_the_script(self, parameter: int) -> bool:
        """Whether the script's own line calls nn.Parameter, rather than making a module that has one."""
        sites = self.case.sites(self.stack_of(parameter))
        return bool(sites) and "Parameter(" in sites[0].expression

    def holder(self, parameter: int) -> tuple[Site, ...]:
        """The sites of the parameter's stack inside the building of the innermost module that it was made for.

        Innermost first; empty when it was made outside of any module's `__init__`.
        """
        sites = self.case.sites(self.stack_of(parameter))
        inside: tuple[Site, ...] = ()
        for module in self.case.modules.values():
            outer = self.case.sites(module.stack)
            if outer and len(outer) < len(sites) and sites[-len(outer) :] == outer:
                found = sites[: len(sites) - len(outer)]
                if not inside or len(found) < len(inside):
                    inside = found
        return inside

    def assignment(self, parameter: int) -> Place | None:
        """The line that put the parameter where it is: the assignment to an attribute, else the line that made it."""
        sites = self.holder(parameter) or self.case.sites(self.stack_of(parameter))[:1]
        chosen = next((site for site in sites if any("." in target for target in site.targets)), None)
        chosen = chosen or next(iter(sites), None)
        return at(chosen) if chosen is not None else None

    def beside(self, stack: int | None, optimizer: int) -> Place | None:
        """The line of `stack` in the innermost function that also builds or steps the optimizer.

        There the optimizer is at hand, so that is where the order can be changed.
        """
        uses = GradLifetimes.of(self.case).of_optimizer(optimizer)
        others = [self.built[optimizer].stack] if optimizer in self.built else []
        others += list(dict.fromkeys(use.stack for use in uses))[:4]
        sites = self.case.sites(stack)
        depths = [shared_frames(sites, self.case.sites(other)) for other in others]
        return at(sites[-1 - max(depths, default=0)]) if sites else None


# -- what is trained -----------------------------------------------------------------------------------


class Untrained(NamedTuple):
    """Parameters (by id) of optimizers that stepped, which never got a gradient."""

    parameters: frozenset[int]
    trained: frozenset[int]


@once_a_case
def untrained(case: Case) -> Untrained:
    """The parameters that an optimizer was to train and that got no gradient in the whole trace."""
    stepped = {event.moment.optimizer for event in case.events(OptimizerStep)}
    wanted = {
        parameter
        for optimizer in stepped
        for parameter in case.members.get(optimizer, ())
        if parameter in case.parameters and case.parameters[parameter].requires_grad
    }
    given: set[int] = set()
    by_hand: set[int] = set()
    for step in case.distinct:
        for event in case.events(GradChange, step):
            if event.moment.has_grad and event.moment.change != "zeroed":
                given.update(step.parameters_of(event.moment.tensors))
        for write in case.events(Mutation, step):
            if step.number >= 0:
                by_hand.update(step.parameters_of((write.moment.tensor, *write.moment.aliases)))
    for row in case.rows:
        given.update(parameter for parameter, _, grad in row.norms if grad is not None)
    return Untrained(frozenset(wanted - given - by_hand), frozenset(given))


def first_uses(step: Step) -> dict[int, int]:
    """The first op of the step that each parameter goes into."""
    found: dict[int, int] = {}
    for index, moment in enumerate(step.moments):
        if isinstance(moment, OpCall) and moment.grad_enabled and moment.outputs:
            for tensor in moment.inputs:
                one = step.tensors[tensor].parameter
                if one is not None and one not in found:
                    found[one] = index
    return found
