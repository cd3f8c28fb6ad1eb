"""Changes of what is done with modules: their values, their mode, the schedule of their optimizer."""

from __future__ import annotations

import ast

from ...model.findings import Place
from ..rewrite import Rewrite
from ..scope import usable
from ..spot import Spot
from ..ways import Change
from .calls import call_named
from .elsewhere import after_words


def values_taken_over() -> Change:
    """A module takes the values of another instead of being replaced by it: `a = b` as a `load_state_dict`."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = _handing_over(spot)
        if assignment is None:
            return None
        target, value = assignment.targets[0], assignment.value
        if not usable(spot.source, spot.source.segment(target), assignment):
            return None
        code = f"{spot.source.segment(target)}.load_state_dict({spot.source.segment(value)}.state_dict())"
        return spot.rewrite().piece(spot.source.start(assignment), spot.source.end(assignment), code)

    return change


def _handing_over(spot: Spot) -> ast.Assign | None:
    """The assignment of one name to another at the place; else the one in the file of what the place binds."""
    names = (ast.Name, ast.Attribute)
    plain = [
        one
        for one in ast.walk(spot.source.tree)
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.value, names)
    ]
    plain = [one for one in plain if isinstance(one.targets[0], names)]
    if spot.assignment in plain:
        return spot.assignment
    bound = getattr(spot.statement, "targets", ())
    known = {ast.unparse(one) for target in bound for one in ast.walk(target) if isinstance(one, names)}
    found = [one for one in plain if ast.unparse(one.value) in known]
    return found[0] if len(found) == 1 else None


def in_the_mode_of_self() -> Change:
    """A module that is made while another runs is in that one's mode: `nn.Dropout(0.3).train(self.training)`."""

    def change(spot: Spot) -> Rewrite | None:
        node = spot.expression
        home = spot.source.function_of(node) if node is not None else None
        if not isinstance(node, ast.Call) or not isinstance(home, ast.FunctionDef) or home.name != "forward":
            return None
        made = node.func if isinstance(node.func, ast.Call) else node
        me = home.args.args[0].arg if home.args.args else ""
        return spot.rewrite().insert(spot.source.end(made), f".train({me}.training)") if me else None

    return change


def done_first(there: Place | None) -> Change:
    """What the statement at `there` does is done at the beginning of the place's function, too."""

    def change(spot: Spot) -> Rewrite | None:
        other = spot.beside(there)
        home = spot.source.function_of(spot.statement) if spot.statement is not None else None
        if other is None or not isinstance(other.statement, ast.Expr) or not isinstance(home, ast.FunctionDef):
            return None
        first, text = after_words(home.body), spot.rewrite().line_text(other.statement)
        if first is None or text is None or not usable(spot.source, text, first):
            return None
        return spot.rewrite().before(first, text)

    return change


def counted_from_one() -> Change:
    """A schedule that divides its count begins at 1: `lambda step: step / 10` as `(step + 1) / 10`."""

    def change(spot: Spot) -> Rewrite | None:
        call = call_named(spot, ("LambdaLR",))
        function = next((one for one in ast.walk(call) if isinstance(one, ast.Lambda)), None) if call else None
        if function is None or len(function.args.args) != 1:
            return None
        count = function.args.args[0].arg
        divided = [one for one in ast.walk(function.body) if isinstance(one, ast.BinOp) and isinstance(one.op, ast.Div)]
        counts = [one.left for one in divided if isinstance(one.left, ast.Name) and one.left.id == count]
        return spot.rewrite().replace(counts[0], f"({count} + 1)") if len(counts) == 1 else None

    return change
