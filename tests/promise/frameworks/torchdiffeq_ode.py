# A learned differential equation solved by torchdiffeq, directly and by the adjoint.
import torch
from torchdiffeq import odeint, odeint_adjoint

torch.manual_seed(0)


class Field(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 12), torch.nn.Tanh(), torch.nn.Linear(12, 2))

    def forward(self, t, y):
        return self.net(y**3)


field = Field()
optimizer = torch.optim.RMSprop(field.parameters(), lr=1e-2)
start, goal, times = torch.tensor([[2.0, 0.0]]), torch.randn(4, 1, 2), torch.linspace(0, 0.6, 4)
for step, (solve, method) in enumerate([(odeint, "dopri5"), (odeint, "rk4"), (odeint_adjoint, "dopri5")]):
    optimizer.zero_grad()
    loss = (solve(field, start, times, method=method) - goal).abs().mean()
    loss.backward()
    optimizer.step()
    print(step, method, f"{loss.item():.6f}", f"{field.net[0].weight.grad.norm().item():.6f}")
