# A network that solves a heat equation: second derivatives by create_graph, in float64, Adam and then L-BFGS.
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(31)
net = nn.Sequential(nn.Linear(2, 12), nn.Tanh(), nn.Linear(12, 12), nn.Tanh(), nn.Linear(12, 1))
for module in net:
    if isinstance(module, nn.Linear):
        nn.init.xavier_normal_(module.weight)
inside = torch.rand(30, 2, requires_grad=True)
edge = torch.rand(10, 2)
edge[:, 1] = 0


def residual():
    u = net(inside)
    (first,) = torch.autograd.grad(u, inside, torch.ones_like(u), create_graph=True)
    (second,) = torch.autograd.grad(first[:, 0].sum(), inside, create_graph=True)
    return (first[:, 1] - 0.1 * second[:, 0]).pow(2).mean() + (net(edge) - torch.sin(torch.pi * edge[:, :1])).pow(
        2
    ).mean()


adam = torch.optim.Adam(net.parameters(), lr=1e-3)
for step in range(4):
    adam.zero_grad()
    loss = residual()
    loss.backward()
    adam.step()
    print(step, loss.item())
lbfgs = torch.optim.LBFGS(net.parameters(), max_iter=5, history_size=10, line_search_fn="strong_wolfe")
calls = 0


def closure():
    global calls
    calls += 1
    lbfgs.zero_grad()
    loss = residual()
    loss.backward()
    return loss


print(lbfgs.step(closure).item(), calls, inside.grad is not None)
torch.set_default_dtype(torch.float32)
