"""All checks and rules, in the order of their codes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import resources

from ..errors import UnknownName
from ..model.findings import Severity
from .checks import (
    broken_ties,
    checkpoints,
    clipping,
    coefficients,
    custom_backwards,
    devices,
    divided_losses,
    estimators,
    exact_zeros,
    failing_backward,
    frozen_params_move,
    gradient_hooks,
    gradient_path,
    gradient_sizes,
    graph_leaks,
    idle_copies,
    idle_optimizers,
    idle_terms,
    inner_updates,
    learning_rates,
    left_out_parameters,
    loss_inputs,
    lost_updates,
    missing_detach,
    modes_of_parts,
    nan_births,
    never_called,
    not_the_leaf,
    refused_calls,
    refused_dtypes,
    refused_functions,
    refused_gradients,
    refused_parameters,
    refused_runs,
    refused_settings,
    refused_shapes,
    refused_targets,
    requires_grad_missing,
    saved_tensors,
    scrambled_axes,
    second_backward,
    softmax_axes,
    step_order,
    unscaled_losses,
    unseen_writes,
    update_schedule,
    vain_graphs,
    whose_gradients,
    wrong_mode,
    zero_derivative,
)
from .rules import Check, Rule

# One module for each family of mistakes, in the order of their codes.
_FAMILIES = (
    saved_tensors,
    unseen_writes,
    failing_backward,
    gradient_path,
    idle_terms,
    coefficients,
    estimators,
    zero_derivative,
    exact_zeros,
    inner_updates,
    second_backward,
    graph_leaks,
    missing_detach,
    checkpoints,
    wrong_mode,
    vain_graphs,
    modes_of_parts,
    not_the_leaf,
    lost_updates,
    requires_grad_missing,
    refused_gradients,
    refused_calls,
    step_order,
    clipping,
    unscaled_losses,
    update_schedule,
    divided_losses,
    learning_rates,
    idle_copies,
    never_called,
    idle_optimizers,
    whose_gradients,
    left_out_parameters,
    frozen_params_move,
    broken_ties,
    refused_parameters,
    refused_settings,
    nan_births,
    custom_backwards,
    gradient_hooks,
    refused_functions,
    refused_runs,
    gradient_sizes,
    loss_inputs,
    refused_targets,
    softmax_axes,
    scrambled_axes,
    refused_shapes,
    devices,
    refused_dtypes,
)
CHECKS: tuple[Check, ...] = tuple(check for family in _FAMILIES for check in family.CHECKS)
# What the judgement says of itself, not of a cause.
CHECK_FAILED = Rule("GS000", "check-failed", Severity.NOTE, "A check could not be made on this trace.")
UNEXPLAINED = Rule("GS001", "unexplained-failure", Severity.ERROR, "The script failed, and no check explains why.")
TOO_LITTLE = Rule("GS002", "recorded-too-little", Severity.NOTE, "The trace holds too little to judge all of the run.")
OWN = (CHECK_FAILED, UNEXPLAINED, TOO_LITTLE)


def rules_of(checks: Iterable[Check]) -> dict[str, Rule]:
    """The rules of checks, and of the judgement itself, by their codes, in order."""
    rules = {*OWN, *(one for check in checks for one in check.rules)}
    return {one.code: one for one in sorted(rules, key=lambda one: one.code)}


RULES = rules_of(CHECKS)


def rule(name: str, rules: Mapping[str, Rule] = RULES) -> Rule:
    """The rule of a code (`GS101`) or name (`saved-tensor-modified`). Raises UnknownName, with the nearest."""
    found = rules.get(name.upper()) or next((one for one in rules.values() if one.name == name.lower()), None)
    if found is None:
        raise UnknownName("finding", name, rules)
    return found


def page(rule: Rule) -> str:
    """The page of a rule, Markdown: what it means, why it is wrong, an example, the fix."""
    if rule.page or rule.code not in RULES:
        return rule.page or f"# {rule.code} {rule.name}\n\n{rule.title}\n"
    return (resources.files(__package__) / "pages" / f"{rule.code}.md").read_text(encoding="utf-8")
