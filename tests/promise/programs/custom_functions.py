# Functions with a backward of one's own: saved values, several outputs, marked in-place, once only, setup_context, vmap.
import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable


class Exp(Function):
    @staticmethod
    def forward(ctx, x):
        out = x.exp()
        ctx.save_for_backward(out)
        return out

    @staticmethod
    def backward(ctx, grad):
        (out,) = ctx.saved_tensors
        return grad * out


class Halves(Function):
    @staticmethod
    def forward(ctx, x, at):
        ctx.at, ctx.shape = at, x.shape
        ctx.set_materialize_grads(False)
        return x[:at].clone(), x[at:].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx, one, two):
        out = torch.zeros(ctx.shape)
        if one is not None:
            out[: ctx.at] = one
        if two is not None:
            out[ctx.at :] = two
        return out, None


class Add(Function):
    @staticmethod
    def forward(ctx, x, by):
        ctx.mark_dirty(x)
        return x.add_(by)

    @staticmethod
    def backward(ctx, grad):
        return grad, None


class Cube(Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return x**3

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, grad):
        return grad * 3 * ctx.saved_tensors[0] ** 2

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * 3 * ctx.saved_tensors[0] ** 2


x = torch.linspace(0.1, 1.0, 4, requires_grad=True)
for step in range(3):
    one, two = Halves.apply(Exp.apply(x), 1)
    loss = two.sum() + Add.apply(x * 2, 0.5).prod() + Cube.apply(x).mean()
    loss.backward()
    print(step, loss.item(), x.grad, two.grad_fn.name(), one.requires_grad)
    with torch.no_grad():
        x -= 0.01 * x.grad
    x.grad = None
(first,) = torch.autograd.grad(Exp.apply(x).sum(), x, create_graph=True)
(second,) = torch.autograd.grad(first.sum(), x)
print(second, torch.func.vmap(torch.func.grad(lambda v: Cube.apply(v)))(x.detach()))
print(torch.func.jvp(Cube.apply, (x.detach(),), (torch.ones(4),)))
print(torch.autograd.gradcheck(Cube.apply, torch.rand(3, dtype=torch.double, requires_grad=True)))
