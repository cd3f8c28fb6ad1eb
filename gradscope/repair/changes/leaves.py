"""Changes of leaves: who asks for a gradient and when, and how a leaf is written to."""

from __future__ import annotations

import ast

from ..rewrite import Rewrite
from ..scope import nn_name, torch_name
from ..source import Source
from ..spot import Spot
from ..ways import Change
from .calls import calls_of, last_name, with_argument, wrap
from .heads import within
from .values import followed

_FLAG = "requires_grad"


def asked_last() -> Change:
    """The leaf is made with its final dtype and scale, and asks for its gradient after that.

    `torch.ones(3, requires_grad=True).double()` becomes `torch.ones(3).double().requires_grad_()`, and
    `nn.Parameter(x).double()` becomes `nn.Parameter(x.double())`.
    """

    def change(spot: Spot) -> Rewrite | None:
        for call in calls_of(spot):
            whole = _chain_of(spot, call)
            if whole is call:
                continue
            if any(keyword.arg == _FLAG for keyword in call.keywords):
                return _flag_last(spot, call, whole)
            if last_name(call) == "Parameter" and len(call.args) == 1 and not call.keywords:
                source = spot.source
                chain = source.text[source.end(call) : source.end(whole)]
                rewrite = spot.rewrite()
                if source.start(call) != source.start(whole):
                    return None
                inner = source.end(call.args[0])
                start, end = rewrite.span(call.args[0])
                rewrite.piece(start, end, f"{rewrite.primary(call.args[0])}{chain}")
                return rewrite.piece(source.end(call), source.end(whole), "") if inner <= end else None
        return None

    return change


def _chain_of(spot: Spot, call: ast.Call) -> ast.Call:
    """The last call of the chain that begins with `call`: of `x.double().to(d)` for `x.double()`."""
    parents = spot.source.parents
    while True:
        link = parents.get(call)
        outer = parents.get(link) if isinstance(link, ast.Attribute) and link.value is call else None
        if not isinstance(outer, ast.Call) or outer.func is not link:
            return call
        call = outer


def _flag_last(spot: Spot, call: ast.Call, whole: ast.expr) -> Rewrite | None:
    from .writes import removed_keyword

    rewrite = removed_keyword(spot, call, _FLAG)
    return rewrite.insert(spot.source.end(whole), f".{_FLAG}_()") if rewrite is not None else None


def own_leaf() -> Change:
    """What the statement assigns becomes a leaf of its own: `.detach().requires_grad_()`."""

    def change(spot: Spot) -> Rewrite | None:
        value = spot.assignment.value if spot.assignment is not None else None
        return followed(spot, value, f".detach().{_FLAG}_()")

    return change


def asked() -> Change:
    """What the statement makes asks for a gradient: by the keyword where the call takes it, else by a call."""

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.Return)) else None
        if value is None or isinstance(value, (ast.Tuple, ast.List, ast.Dict)):
            value = spot.expression
        if isinstance(value, ast.Call):
            if last_name(value) in _REBUILDS and (isinstance(statement, ast.Return) or not _of_constants(value)):
                return None  # it is made of numbers that were computed: its gradient would train nothing
            if last_name(value) in _FACTORIES and not any(one.arg in (None, _FLAG) for one in value.keywords):
                return with_argument(spot, value, f"{_FLAG}=True")
        return followed(spot, value, f".{_FLAG}_()")

    return change


_CONTAINERS = (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Tuple)
_REBUILDS = frozenset({"tensor", "as_tensor", "from_numpy", "Tensor", "FloatTensor"})
_FACTORIES = frozenset(
    [
        "tensor",
        "ones",
        "zeros",
        "full",
        "rand",
        "randn",
        "arange",
        "linspace",
        "eye",
        "empty",
        "ones_like",
        "zeros_like",
    ]
)


def _of_constants(call: ast.Call) -> bool:
    return all(not isinstance(node, (ast.Name, ast.Call)) for one in call.args for node in ast.walk(one))


def floating(dtype: str = "float32") -> Change:
    """Whole numbers become floating ones where the tensor is made."""

    def change(spot: Spot) -> Rewrite | None:
        made = next((one for one in calls_of(spot) if last_name(one) == "Parameter"), None)
        if made is not None and made.args:
            return followed(spot, made.args[0], ".float()")
        call = next((one for one in calls_of(spot) if any(k.arg == _FLAG for k in one.keywords)), None)
        torch = torch_name(spot.source, call) if call is not None else None
        if call is None or torch is None:
            return None
        given = next((one for one in call.keywords if one.arg == "dtype"), None)
        if given is not None:
            return spot.rewrite().replace(given.value, f"{torch}.{dtype}")
        return with_argument(spot, call, f"dtype={torch}.{dtype}")

    return change


def written_in_place(*, under_no_grad: bool, then: str = "") -> Change:
    """`w = w - lr * g` as a write into `w`, under `torch.no_grad()` where gradients are on; `then` follows it."""

    def change(spot: Spot) -> Rewrite | None:
        assignment = spot.assignment
        if assignment is None or not isinstance(assignment.value, ast.BinOp):
            return None
        source, rewrite = spot.source, spot.rewrite()
        target, value = assignment.targets[0], assignment.value
        sign = {ast.Sub: "-", ast.Add: "+", ast.Mult: "*"}.get(type(value.op))
        if sign is None or "".join(source.segment(target).split()) != "".join(source.segment(value.left).split()):
            return None
        if "\n" in source.segment(assignment):
            return None
        code = f"{source.segment(target)} {sign}= {source.text[slice(*rewrite.span(value.right))]}"
        if not under_no_grad:
            rewrite.piece(source.start(assignment), source.end(assignment), code)
            return rewrite.after(assignment, then) if then else rewrite
        wrapped = within(spot, assignment, "with {torch}.no_grad():", code)
        return wrapped.after(assignment, then) if wrapped is not None and then else wrapped

    return change


def as_parameter() -> Change:
    """A plain tensor that wants a gradient becomes a parameter."""

    def change(spot: Spot) -> Rewrite | None:
        value = spot.assignment.value if spot.assignment is not None else None
        nn = nn_name(spot.source, value) if value is not None else None
        if (
            value is None
            or nn is None
            or isinstance(value, (ast.List, ast.ListComp, ast.Dict, ast.DictComp, ast.Tuple))
        ):
            return None
        from .writes import removed_keyword

        rewrite = spot.rewrite()
        if isinstance(value, ast.Call) and any(one.arg == _FLAG for one in value.keywords):
            found = removed_keyword(spot, value, _FLAG)
            assert found is not None
            rewrite = found
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr == f"{_FLAG}_":
            rewrite.piece(spot.source.end(value.func.value), spot.source.end(value), "")
        start, end = rewrite.span(value)
        return rewrite.insert(start, f"{nn}.Parameter(").insert(end, ")")

    return change


def registered() -> Change:
    """A plain list or dict of modules or parameters becomes one that a module knows."""

    def change(spot: Spot) -> Rewrite | None:
        value = spot.assignment.value if spot.assignment is not None else None
        nn = nn_name(spot.source, value) if value is not None else None
        if nn is None or value is None:
            return None
        made = [last_name(one) for one in ast.walk(value) if isinstance(one, ast.Call)]
        kind = "Parameter" if "Parameter" in made else "Module"
        if isinstance(value, (ast.List, ast.ListComp, ast.Tuple)):
            return wrap(spot, value, f"{nn}.{kind}List(", ")")
        if isinstance(value, (ast.Dict, ast.DictComp)):
            return wrap(spot, value, f"{nn}.{kind}Dict(", ")")
        return None

    return change


def gradient_dropped(*, module: bool) -> Change:
    """Whoever is frozen on this line loses its gradient, too: a parameter's `.grad`, or all of a `module`.

    What a loop over `parameters()` gives is no module.
    """

    def change(spot: Spot) -> Rewrite | None:
        call = next((one for one in calls_of(spot) if last_name(one) == f"{_FLAG}_"), None)
        target = spot.assignment.targets[0] if spot.assignment is not None else None
        if call is not None and isinstance(call.func, ast.Attribute):
            frozen: ast.expr = call.func.value
        elif isinstance(target, ast.Attribute) and target.attr == _FLAG:
            frozen = target.value
        else:
            return None
        if spot.statement is None or not isinstance(frozen, (ast.Name, ast.Attribute, ast.Subscript)):
            return None
        name = spot.source.segment(frozen)
        looped = any(_gives_parameters(one, name) for one in spot.source.around(spot.statement))
        code = f"{name}.zero_grad()" if module and not looped else f"{name}.grad = None"
        return spot.rewrite().after(spot.statement, code)

    return change


def _gives_parameters(node: ast.AST, name: str) -> bool:
    """Whether a loop over a module's parameters gives them this name."""
    if not isinstance(node, ast.For):
        return False
    calls = [one for one in ast.walk(node.iter) if isinstance(one, ast.Call)]
    bound = {one.id for one in ast.walk(node.target) if isinstance(one, ast.Name)}
    return name in bound and any(last_name(one) in ("parameters", "named_parameters") for one in calls)


def leaf_begun() -> Change:
    """`x.requires_grad = True` of a result as `x = x.detach().requires_grad_()`, and of False as `x = x.detach()`,
    but not where the name is a loop's or an argument and is read no more: it would be bound in vain.
    """

    def change(spot: Spot) -> Rewrite | None:
        target = spot.assignment.targets[0] if spot.assignment is not None else None
        call = spot.statement.value if isinstance(spot.statement, ast.Expr) else None
        if isinstance(target, ast.Attribute) and target.attr == _FLAG:
            value, asked = target.value, spot.assignment.value if spot.assignment is not None else None
        elif isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == f"{_FLAG}_":
            given = [*call.args, *(keyword.value for keyword in call.keywords)]
            value, asked = call.func.value, given[0] if given else None
        else:
            return None
        if spot.statement is None or not isinstance(value, (ast.Name, ast.Attribute)):
            return None
        if isinstance(value, ast.Name) and _bound_in_vain(spot.source, spot.statement, value.id):
            return None
        name = spot.source.segment(value)
        start, end = spot.source.start(spot.statement), spot.source.end(spot.statement)
        off = isinstance(asked, ast.Constant) and asked.value is False
        return spot.rewrite().piece(start, end, f"{name} = {name}.detach()" + ("" if off else f".{_FLAG}_()"))

    return change


def _bound_in_vain(source: Source, statement: ast.stmt, name: str) -> bool:
    """Whether a name that a loop or a call gives its value is not read again before it is given the next one."""
    for node in source.around(statement):
        if isinstance(node, ast.For):
            given = {part.id for part in ast.walk(node.target) if isinstance(part, ast.Name)}
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = {part.arg for part in ast.walk(node.args) if isinstance(part, ast.arg)}
        else:
            continue
        if name in given:
            reads = (part for part in ast.walk(node) if isinstance(part, ast.Name) and part.id == name)
            end = statement.end_lineno or statement.lineno
            return not any(isinstance(part.ctx, ast.Load) and part.lineno > end for part in reads)
        if not isinstance(node, ast.For):
            return False
    return False
