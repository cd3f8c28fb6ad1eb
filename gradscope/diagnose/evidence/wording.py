"""How findings speak of calls, parameters and optimizers: as the user's own code does."""

from __future__ import annotations

import ast
from collections.abc import Iterable

from ...model.records import Tensor
from ...text import elide_list, sizes
from .index import Case

_LONGEST = 60


def call_at(case: Case, stack: int | None, otherwise: str) -> str:
    """The call on the innermost line of `stack`, as it is written there; `otherwise` where it was not seen."""
    sites = case.sites(stack)
    expression = sites[0].expression if sites else ""
    return expression if expression and len(expression) <= _LONGEST and "\n" not in expression else otherwise


def optimizer_name(case: Case, optimizer: int | None) -> str:
    """What the script calls the optimizer; its class where that was not seen."""
    known = case.optimizers.get(optimizer) if optimizer is not None else None
    if known is None:
        return "the optimizer"
    targets = next((site.targets for site in case.sites(known.stack) if site.targets), ())
    return targets[0] if len(targets) == 1 and targets[0] else f"the {known.type} optimizer"


def parameter_names(case: Case, parameters: Iterable[int], most: int = 3) -> str:
    """The names of parameters, a few of them: `fc1.weight, fc1.bias, … (10 in all)`."""
    return elide_list([parameter_name(case, one) for one in dict.fromkeys(parameters)], most)


def parameter_name(case: Case, parameter: int) -> str:
    """The parameter's name, with its shape where it has none."""
    known = case.parameters[parameter]
    return known.name or f"a parameter of shape {tuple(known.shape)}"


def listed(names: Iterable[str]) -> str:
    """Names in a sentence, the first few of many."""
    return elide_list(names, 4) or "an input"


def variable(name: str, otherwise: str) -> str:
    """A name where code can be written with it (`self.state`), else another."""
    return name if all(part.isidentifier() for part in name.split(".")) else otherwise


def is_code(name: str) -> bool:
    """Whether a name is an expression that code can be written with: `self.opts["d"]`, not words."""
    try:
        tree = ast.parse(name, mode="eval").body
    except SyntaxError:
        return False
    while isinstance(tree, (ast.Attribute, ast.Subscript)):
        tree = tree.value
    return isinstance(tree, ast.Name)


def module_name(case: Case, module: int, otherwise: str = "the model") -> str:
    """What a module is called; `otherwise` where it was not seen."""
    return case.names.module(module) if module in case.modules else otherwise


def shape_of(tensor: Tensor) -> str:
    """The shape of a tensor, as torch shows it."""
    return f"({sizes(tensor.shape)}{',' if len(tensor.shape) == 1 else ''})"
