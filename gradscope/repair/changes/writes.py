"""Changes of a write in place: it makes a new value, or what was there is copied before."""

from __future__ import annotations

import ast
import re

from ..rewrite import Rewrite
from ..scope import bindings, is_bound, is_module
from ..spot import Spot
from ..ways import Change

# Methods and functions whose name without the `_` takes the same arguments and gives the new value.
_WORDS = """
    abs acos add addcdiv addcmul addmm asin atan ceil celu clamp clamp_max clamp_min clip cos cosh div divide
    elu erf exp expm1 floor floor_divide fmod frac hardtanh index_add index_copy index_fill leaky_relu lerp log
    log10 log1p log2 logit masked_fill masked_scatter mul multiply nan_to_num neg negative pow reciprocal relu
    remainder round rrelu rsqrt scatter scatter_add selu sigmoid sign sin sinh sqrt square sub subtract tan
    tanh threshold tril triu true_divide trunc
"""
_PURE = frozenset(_WORDS.split())
_OPERATORS = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.MatMult: "@",
}
_INPLACE = "inplace"
_SLOTS = ({"self", "mat1", "input", "tensor1"}, {"other", "mat2", "weight", "tensor2", "exponent", "vec"})


def out_of_place(*, attributes: bool) -> Change:
    """A new value in place of the write, under the same name: `h += x` becomes `h = h + x`.

    Only where the name is the function's own, so that nobody waits for the write under another; `attributes` may
    be given a new value, too.
    """

    def change(spot: Spot) -> Rewrite | None:
        statement = spot.statement
        if isinstance(statement, ast.AugAssign):
            return _plain_assignment(spot, statement, attributes)
        call = spot.expression
        if not isinstance(call, ast.Call):
            return None
        if any(keyword.arg == _INPLACE for keyword in call.keywords):
            return _without_inplace(spot, call, attributes)
        return _renamed(spot, call, attributes)

    return change


def _plain_assignment(spot: Spot, statement: ast.AugAssign, attributes: bool) -> Rewrite | None:
    target = statement.target
    sign = _OPERATORS.get(type(statement.op))
    if sign is None or not own_name(spot, target, attributes):
        return None
    source, rewrite = spot.source, spot.rewrite()
    start, end = source.end(target), rewrite.span(statement.value)[0]
    name = source.segment(target)
    between = source.text[start:end]
    if not re.fullmatch(rf"\s*{re.escape(sign)}=\s*", between):
        return None
    rewrite.piece(start, end, f" = {name} {sign} ")
    if _binds_less(statement.value, statement.op):
        rewrite.replace(statement.value, rewrite.primary(statement.value))
    return rewrite


def _binds_less(value: ast.expr, operator: ast.operator) -> bool:
    """Whether the right side of an operator needs parentheses: `h - (a + b)`, but `h + a * b`."""
    if isinstance(value, ast.BinOp):
        return _rank(value.op) <= _rank(operator)
    return isinstance(value, (ast.Compare, ast.BoolOp, ast.IfExp, ast.Lambda, ast.Tuple, ast.Yield))


def _rank(operator: ast.operator) -> int:
    """How tightly an operator binds."""
    ranks = (("BitOr",), ("BitXor",), ("BitAnd",), ("LShift", "RShift"), ("Add", "Sub"), (), ("Pow",))
    name = type(operator).__name__
    return next((rank for rank, names in enumerate(ranks) if name in names), 5)


def _without_inplace(spot: Spot, call: ast.Call, attributes: bool) -> Rewrite | None:
    """`F.relu(h, inplace=True)` without that; a function's result is then bound to the name."""
    rewrite = removed_keyword(spot, call, _INPLACE)
    statement = spot.statement
    if rewrite is None or not isinstance(statement, ast.Expr) or statement.value is not call:
        return rewrite
    if not call.args or not own_name(spot, call.args[0], attributes):
        return None
    return rewrite.insert(spot.source.start(statement), f"{spot.source.segment(call.args[0])} = ")


def _renamed(spot: Spot, call: ast.Call, attributes: bool) -> Rewrite | None:
    """`h.mul_(x)` as `h = h.mul(x)`, `F.relu_(h)` as `h = F.relu(h)`; the value alone where it is used on the line."""
    source, statement, rewrite = spot.source, spot.statement, spot.rewrite()
    root, links = _chain(source.parents.get(call), call, source.parents)
    for link in links:
        if not isinstance(link.func, ast.Attribute) or not _is_pure(link.func.attr):
            return None
        end = source.end(link.func)
        rewrite.piece(end - 1, end, "")
    first = links[0]
    assert isinstance(first.func, ast.Attribute)
    receiver: ast.expr = first.func.value
    if isinstance(receiver, (ast.Name, ast.Attribute)) and _names_module(spot, receiver):
        if len(links) > 1 or not first.args:
            return None
        receiver = first.args[0]
    if isinstance(statement, ast.Expr) and statement.value is root:
        if isinstance(receiver, ast.Attribute) and receiver.attr == "data" and first.func.value is receiver:
            rewrite.piece(source.end(receiver.value), source.end(receiver), "")
            receiver = receiver.value
        if not own_name(spot, receiver, attributes):
            return None
        return rewrite.insert(source.start(statement), f"{source.segment(receiver)} = ")
    bare = receiver
    while isinstance(bare, ast.Call) and isinstance(bare.func, ast.Attribute):
        bare = bare.func.value  # a value made on this line, which has no other name
    return rewrite if bare is not receiver or isinstance(bare, (ast.BinOp, ast.Call)) else None


def _chain(parent: ast.AST | None, call: ast.Call, parents: object) -> tuple[ast.expr, list[ast.Call]]:
    """The whole chain of writes that a call is in, `x.mul_(a).add_(b)`: its last call, and all in their order."""
    assert isinstance(parents, dict)
    links = [call]
    inner: ast.expr = call.func.value if isinstance(call.func, ast.Attribute) else call.func
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and inner.func.attr.endswith("_"):
        links.insert(0, inner)
        inner = inner.func.value
    root: ast.expr = call
    while isinstance(parent, ast.Attribute) and parent.attr.endswith("_") and parent.value is root:
        outer = parents.get(parent)
        if not isinstance(outer, ast.Call) or outer.func is not parent:
            break
        links.append(outer)
        root, parent = outer, parents.get(outer)
    return root, links


def _is_pure(name: str) -> bool:
    return name.endswith("_") and not name.endswith("__") and name[:-1] in _PURE


def _names_module(spot: Spot, node: ast.expr) -> bool:
    """Whether `F` in `F.relu_(h)` is a module and no tensor."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name) and spot.statement is not None and is_module(spot.source, node.id, spot.statement)


def own_name(spot: Spot, target: ast.expr, attributes: bool) -> bool:
    """Whether a new value under this name does all that the write did: no caller, loop or container waits for it."""
    if isinstance(target, ast.Attribute):
        return attributes and isinstance(target.value, ast.Name) and not _names_module(spot, target)
    if not isinstance(target, ast.Name) or spot.statement is None:
        return False
    home = spot.source.function_of(spot.statement)
    if isinstance(home, ast.Lambda) or not is_bound(spot.source, target.id, spot.statement):
        return False
    own = {id(node) for node in ast.walk(spot.statement)}
    found = [n for n, line in bindings(home, target.id) if line <= spot.statement.lineno and id(n) not in own]
    if not found:
        return False
    nearest = found[-1]
    holders = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.NamedExpr, ast.Tuple)
    looped = any(_in_target(nearest, one) for one in spot.source.around(nearest))
    return isinstance(nearest, ast.Name) and isinstance(spot.source.parents.get(nearest), holders) and not looped


def _in_target(node: ast.AST, holder: ast.AST) -> bool:
    """Whether `node` is what a loop or a `with` gives its values to."""
    target = getattr(holder, "target", None) if isinstance(holder, (ast.For, ast.comprehension)) else None
    target = holder.optional_vars if isinstance(holder, ast.withitem) else target
    return target is not None and any(one is node for one in ast.walk(target))


def removed_keyword(spot: Spot, call: ast.Call, name: str) -> Rewrite | None:
    """The call without one of its keywords, and without the comma that goes with it."""
    source, rewrite = spot.source, spot.rewrite()
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    keyword = next((one for one in call.keywords if one.arg == name), None)
    if keyword is None:
        return None
    place = given.index(keyword.value)
    start, end = source.start_of_keyword(keyword), rewrite.span(keyword.value)[1]
    if place:
        start = rewrite.span(given[place - 1])[1]
    elif len(given) > 1:
        end = source.start_of_keyword(call.keywords[1])
    return rewrite.piece(start, end, "")


def copy_kept(name: str, *, result: bool, slot: str = "") -> Change:
    """What an op keeps for its backward becomes a copy: its result, or the operand `name`.

    `slot` is what torch calls that operand (`self`, `mat2`), for one without a name.

    The write goes on as it is, and everybody sees it; only the kept values are out of its reach.
    """

    def change(spot: Spot) -> Rewrite | None:
        expression = spot.expression
        kept = expression if result else _operand(spot, expression, name) or _in_slot(spot, expression, slot)
        if kept is None or isinstance(kept, (ast.Starred, ast.GeneratorExp)):
            return None
        rewrite = spot.rewrite()
        return rewrite.replace(kept, f"{rewrite.primary(kept)}.clone()")

    return change


def _operand(spot: Spot, expression: ast.expr | None, name: str) -> ast.expr | None:
    """The operand that is called `name`; that of a call with one, whatever it is called outside."""
    if isinstance(expression, ast.BinOp):
        operands = [expression.left, expression.right]
    elif isinstance(expression, ast.Call):
        operands = list(expression.args)
        if isinstance(expression.func, ast.Attribute) and not _names_module(spot, expression.func.value):
            operands.append(expression.func.value)
    else:
        return None
    wanted = "".join(name.split())
    texts = {operand: "".join(spot.source.segment(operand).split()) for operand in operands}
    last = wanted.rpartition(".")[2]
    for alike in (wanted, f".{wanted}", f".{last}"):
        same = [one for one, text in texts.items() if text == alike or (alike[0] == "." and text.endswith(alike))]
        if len(same) == 1:
            return same[0]
    within = [one for one in operands if any(_text(spot, node).endswith(f".{last}") for node in ast.walk(one))]
    if len(within) == 1:
        return within[0]
    given = expression.args if isinstance(expression, ast.Call) else []
    return given[0] if len(given) == 1 else None


def _in_slot(spot: Spot, expression: ast.expr | None, slot: str) -> ast.expr | None:
    """The first or second operand of an op that is given two, by torch's word for it."""
    if isinstance(expression, ast.BinOp):
        operands = [expression.left, expression.right]
    elif isinstance(expression, ast.Call) and not expression.keywords:
        method = isinstance(expression.func, ast.Attribute) and not _names_module(spot, expression.func.value)
        receiver = [expression.func.value] if method and isinstance(expression.func, ast.Attribute) else []
        operands = [*receiver, *expression.args]
    else:
        return None
    place = next((place for place, words in enumerate(_SLOTS) if slot in words), None)
    return operands[place] if place is not None and len(operands) == len(_SLOTS) else None


def taken_one_by_one() -> Change:
    """A loop over the parts of a tensor takes each by its index, so that a write into one is a write into the whole."""

    def change(spot: Spot) -> Rewrite | None:
        loop = next((one for one in spot.source.statements_on(spot.place.line) if isinstance(one, ast.For)), None)
        if loop is None:
            return None
        whole = loop.iter
        if isinstance(whole, ast.Call) and isinstance(whole.func, ast.Name) and whole.func.id in ("zip", "enumerate"):
            whole = whole.args[0] if whole.args else whole
        rewrite = spot.rewrite()
        base: ast.expr = whole
        if isinstance(whole, ast.Call):
            plain = not whole.args or (isinstance(whole.args[0], ast.Constant) and whole.args[0].value == 0)
            if not isinstance(whole.func, ast.Attribute) or whole.func.attr != "unbind" or not plain:
                return None
            base = whole.func.value
        if not isinstance(base, (ast.Name, ast.Attribute, ast.Subscript)):
            return None
        text = spot.source.segment(base)
        index = next(name for name in ("i", "j", "k", "n") if name not in _names_in(loop.iter) | _names_in(loop.target))
        return rewrite.replace(whole, f"({text}[{index}] for {index} in range(len({text})))")

    return change


def _text(spot: Spot, node: ast.AST) -> str:
    return "".join(spot.source.segment(node).split()) if isinstance(node, ast.Attribute) else ""


def _names_in(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
