"""`Ledger`: the figures of a scene's step, and those of the step that it is compared with. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ..model.records import Parameter
from .figures import Figures, StepFigures
from .scene import Scene


@dataclass(frozen=True, slots=True)
class Ledger:
    """Making one is linear in the steps that the one `before` has not; asking it is not."""

    mine: StepFigures
    others: StepFigures | None = None

    @classmethod
    def of(cls, scene: Scene, before: Ledger | None) -> Ledger:
        known = [one for one in (before.mine, before.others) if one is not None] if before is not None else []
        other = scene.other
        return cls(_figures(scene, known), _figures(other, known) if other is not None else None)

    def fits(self, scene: Scene) -> bool:
        """Whether it is of these steps."""
        other = scene.other
        beside = other is None if self.others is None else other is not None and _are_of(self.others, other)
        return beside and _are_of(self.mine, scene)

    def of_other(self, scene: Scene, parameter: Parameter) -> Figures | None:
        """The figures of the same parameter on the other side, if there is one."""
        against = scene.against
        if self.others is None or against is None or against.pairing is None or against.scene is None:
            return None
        if parameter.id < 0:
            other = next((one for one in self.others.leaves if one.name == parameter.name), None)
        else:
            other = against.scene.trace.names.parameters.get(against.pairing.parameters.get(parameter.id, -1))
        return self.others.of(other, against.scene.state) if other is not None else None


def work_of(scene: Scene) -> int:
    """How many moments making a ledger goes through."""
    other = scene.other
    return len(scene.step.moments) + (len(other.step.moments) if other is not None else 0)


def only_words(scene: Scene) -> str:
    """` · 2 only here`: the tensors that only one of two compared traces has."""
    against = scene.against
    if against is None or against.scene is None or against.pairing is None:
        return ""
    paired = len(against.pairing.parameters)
    here, there = (len(one.trace.names.parameters) - paired for one in (scene, against.scene))
    return f" · {here:,} only here" * bool(here) + f" · {there:,} only there" * bool(there)


def _are_of(figures: StepFigures, scene: Scene) -> bool:
    return figures.step is scene.step and figures.samples is scene.samples


def _figures(scene: Scene, known: list[StepFigures]) -> StepFigures:
    found = next((one for one in known if _are_of(one, scene)), None)
    return found if found is not None else StepFigures(scene.step, scene.samples, scene.beside)
