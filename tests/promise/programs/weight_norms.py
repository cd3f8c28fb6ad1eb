# Parametrizations: spectral and weight norm, orthogonal maps, one's own; copies and state dicts of such modules.
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, skip_init

torch.manual_seed(161)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).mT

    def right_inverse(self, x):
        return x.triu()


net = nn.Sequential(
    parametrizations.spectral_norm(nn.Linear(4, 6), n_power_iterations=2),
    nn.Tanh(),
    parametrizations.weight_norm(nn.Linear(6, 6)),
    parametrizations.orthogonal(nn.Linear(6, 6)),
)
parametrize.register_parametrization(net[2], "bias", nn.Identity())
square = nn.Linear(6, 6)
parametrize.register_parametrization(square, "weight", Symmetric())
optimizer = torch.optim.NAdam([*net.parameters(), *square.parameters()], lr=1e-2)
for step in range(4):
    optimizer.zero_grad()
    with parametrize.cached():
        loss = square(net(torch.randn(7, 4))).pow(2).mean()
    loss.backward()
    optimizer.step()
    print(
        step,
        loss.item(),
        torch.linalg.matrix_norm(net[0].weight, 2),
        torch.dist(net[3].weight @ net[3].weight.T, torch.eye(6)) < 1e-4,
    )
parametrize.remove_parametrizations(square, "weight", leave_parametrized=True)
print(type(net[0]).__name__, type(square).__name__, list(net.state_dict()), torch.equal(square.weight, square.weight.T))
print(skip_init(nn.Linear, 2, 3).weight.shape)
