# An ordinary differential equation with a learned right side: Runge-Kutta, and the adjoint as a Function.
import torch
from torch import nn


class Field(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
        self.calls = 0

    def forward(self, t, y):
        self.calls += 1
        return self.net(y**3)


def rk4(f, y, t, h):
    k1 = f(t, y)
    k2 = f(t + h / 2, y + h / 2 * k1)
    k3 = f(t + h / 2, y + h / 2 * k2)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + f(t + h, y + h * k3))


class Adjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx, f, y, steps, *parameters):
        ctx.f, ctx.steps = f, steps
        with torch.no_grad():
            for number in range(steps):
                y = rk4(f, y, number * 0.1, 0.1)
        ctx.save_for_backward(y, *parameters)
        return y

    @staticmethod
    def backward(ctx, grad):
        y, *parameters = ctx.saved_tensors
        sums = [torch.zeros_like(p) for p in parameters]
        for number in reversed(range(ctx.steps)):
            with torch.enable_grad():
                start = rk4(ctx.f, y.detach(), number * 0.1, -0.1).detach().requires_grad_()
                grad, *parts = torch.autograd.grad(rk4(ctx.f, start, number * 0.1, 0.1), (start, *parameters), grad)
            y = start.detach()
            sums = [total + part for total, part in zip(sums, parts)]
        return None, grad, None, *sums


torch.manual_seed(17)
field = Field()
optimizer = torch.optim.RMSprop(field.parameters(), lr=1e-2)
start, goal = torch.randn(6, 2), torch.randn(6, 2)
for step in range(3):
    for adjoint in (False, True):
        y = Adjoint.apply(field, start, 4, *field.parameters()) if adjoint else start
        if not adjoint:
            for number in range(4):
                y = rk4(field, y, number * 0.1, 0.1)
        loss = (y - goal).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        print(step, adjoint, f"{loss.item():.6f}", f"{sum(p.grad.norm() for p in field.parameters()):.5f}")
    optimizer.step()
print(field.calls)
