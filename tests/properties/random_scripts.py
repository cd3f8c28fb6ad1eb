"""Small random tensor programs, as source text.

Every statement stands in a `try` of its own that keeps what it raised, so a program always runs to its end. Each
name is bound once, except by augmented assignments and by `again` loops, so a name is one tensor.
"""

from __future__ import annotations

from hypothesis import strategies as st

HEAD = """\
import traceback
import torch
import torch.nn.functional as F

torch.manual_seed(7)
errors = []
"""

_GUARD = """\
try:
{body}
except Exception:
    errors.append(traceback.format_exc())
"""

# {a} {b}: tensors there are; {new}: a name not yet bound; {flag}: True or False
_STATEMENTS: dict[str, tuple[str, ...]] = {
    "leaf": (
        "{new} = torch.randn(2, 3, requires_grad={flag})",
        "{new} = torch.arange(6.0).view(2, 3)",
        "{new} = torch.full((2, 3), 0.5, requires_grad={flag})",
        "{new} = torch.nn.Parameter(torch.randn(2, 3))",
        "{new} = torch.tensor([[1.0, -2.0, 3.0], [0.0, 5.0, -6.0]], requires_grad={flag})",
    ),
    "op": (
        "{new} = {a} * {b}",
        "{new} = {a} + {b}",
        "{new} = {a} - 2 * {b}",
        "{new} = {a} / ({b} * {b} + 1)",
        "{new} = {a}.sin()",
        "{new} = torch.relu({a})",
        "{new} = {a} ** 2",
        "{new} = {a}.exp().clamp(max=3)",
        "{new} = F.softmax({a}, -1)",
        "{new} = F.dropout({a}, 0.5)",
        "{new} = torch.where({a} > 0, {a}, {b})",
        "{new} = {a}.clone()",
        "{new} = {a}.sum()",
        "{new} = {a}.max(-1).values",
        "{new} = torch.cat([{a}, {b}])",
        "{new} = {a} @ {b}.t()",
        "{new} = F.layer_norm({a}, {a}.shape[-1:])",
        "{new} = {a}.to(torch.float64)",
        "{new} = torch.special.expit({a}).cumsum(-1)",
        "{new} = {a}.sort(-1)[0]",
        "{new} = torch.bernoulli(torch.sigmoid({a}))",
    ),
    "view": (
        "{new} = {a}[0]",
        "{new} = {a}[..., 1:]",
        "{new} = {a}.view(-1)",
        "{new} = {a}.t()",
        "{new}, {new}_ = {a}.unbind(0)",
        "{new}, {new}_ = {a}.chunk(2)",
        "{new} = {a}.expand_as({b})",
        "{new} = {a}.view_as({a})",
    ),
    "write": (
        "{a}.mul_(2)",
        "{a}.add_({b})",
        "{a} += {b}",
        "{a} *= 3",
        "{a}[0] = 1.5",
        "{a}[..., 0] = {b}[..., 0]",
        "{a}.zero_()",
        "{a}.copy_({b})",
        "{a}.relu_()",
        "F.relu({a}, inplace=True)",
        "{a}.view(-1)[1:].mul_({b}.view(-1)[1:])",
        "{a}.data.mul_(2)",
        "{a}.detach().add_(1)",
        "torch._foreach_mul_([{a}, {b}], 2.0)",
        "torch.add({a}, {b}, out={a})",
        "{a}.detach_()",
        "{a}.detach().numpy()[...] += 1",
        "{a}.data = {b}.data.clone()",
        "{a}.normal_()",
    ),
    "status": (
        "{new} = {a}.detach()",
        "{new} = {a}.data",
        "{a}.requires_grad_({flag})",
        "{a}.requires_grad = {flag}",
        "{a}.retain_grad()",
        "{a}.grad = None",
        "{a}.grad.zero_()",
        "{new} = {a}.grad",
        "{a}.grad = {b}.detach().clone()",
        "{a}.register_hook(lambda grad: grad * 2)",
        "del {a}",
        "print_ = repr({a})",
        "{new} = {a}.sum().item()",
    ),
    "backward": (
        "{a}.sum().backward(retain_graph={flag})",
        "{a}.backward(torch.ones_like({a}), retain_graph={flag})",
        "({a} * {b}).sum().backward(create_graph={flag})",
        "torch.autograd.backward([{a}.sum(), {b}.sum()], retain_graph={flag})",
        "{new}, = torch.autograd.grad({a}.sum(), {b}, retain_graph={flag}, allow_unused=True)",
        "{new}, = torch.autograd.grad(({a} ** 2).sum(), {b}, create_graph={flag}, allow_unused=True)",
        "{a}.sum().backward(inputs=[{b}], retain_graph={flag})",
    ),
}
_WRAPPERS = (
    "with torch.no_grad():",
    "with torch.enable_grad():",
    "with torch.inference_mode():",
    "with torch.autocast('cpu', torch.bfloat16):",
    "with torch.autograd.set_grad_enabled({flag}):",
    "for again in range(2):",
    "with torch.autograd.graph.saved_tensors_hooks(lambda t: t, lambda t: t):",
    "with torch.autograd.graph.save_on_cpu():",
)
_WEIGHTS = ("op", "op", "op", "view", "write", "write", "status", "backward")


@st.composite
def scripts(draw: st.DrawFn, size: int = 14) -> str:
    """A program of at most `size` statements after its first two leaves."""
    names = ["x0", "x1"]
    parts = [
        HEAD,
        "x0 = torch.randn(2, 3, requires_grad=True)\n",
        f"x1 = torch.randn(2, 3, requires_grad={draw(st.booleans())})\n",
    ]
    for _ in range(draw(st.integers(2, size))):
        lines = []
        for _ in range(draw(st.sampled_from((1, 1, 1, 2)))):
            kind = draw(st.sampled_from(_WEIGHTS if len(names) > 2 else ("leaf", "op")))
            new = f"x{len(names)}"
            template = draw(st.sampled_from(_STATEMENTS[kind]))
            fields = {
                "a": draw(st.sampled_from(names)), "b": draw(st.sampled_from(names)), "flag": draw(st.booleans())
            }  # fmt: skip
            lines.append(template.format(new=new, **fields))
            if "{new}" in template:
                names.append(new)
        indent = "    "
        wrapper = draw(st.sampled_from((None, None, None, *_WRAPPERS)))
        if wrapper is not None:
            head = wrapper.format(flag=draw(st.booleans()))
            lines = [head, *(indent + line for line in lines)]
        parts.append(_GUARD.format(body="\n".join(indent + line for line in lines)))
    return "".join(parts)


_LOOP = """\
optimizer = torch.optim.{optimizer}([x0, x1.detach().clone().requires_grad_()], lr=0.1)
for step in range(6):
    optimizer.zero_grad()
{body}
    try:
        (x0 * 2).sum().backward()
        optimizer.step()
    except Exception:
        errors.append(traceback.format_exc())
"""


@st.composite
def loops(draw: st.DrawFn, size: int = 10) -> str:
    """A program that trains: its iterations do the same, but for parts that only some of them do."""
    head, marker, rest = draw(scripts(size)).partition("x1 = ")
    line, _, body = rest.partition("\n")
    lines = []
    for part in body.split("try:\n")[1:]:
        when = draw(st.sampled_from((None, None, None, "step % 2", "step == 3", "step < 2")))
        guarded = ("try:\n" + part).splitlines()
        lines += guarded if when is None else [f"if {when}:", *("    " + each for each in guarded)]
    loop = _LOOP.format(
        optimizer=draw(st.sampled_from(("SGD", "Adam"))), body="\n".join("    " + each for each in lines)
    )
    return f"{head}{marker}{line}\n{loop}"
