# A critic with a gradient penalty: a derivative of a derivative in each step.
import torch
from torch import nn, autograd

torch.manual_seed(2)
critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
generator = nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))
of_critic = torch.optim.Adam(critic.parameters(), lr=1e-3, betas=(0.0, 0.9))
of_generator = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.0, 0.9))
penalties = []
for step in range(4):
    for parameter in critic.parameters():
        parameter.requires_grad_(True)
    for _ in range(2):
        real = torch.randn(8, 2) + 3
        with torch.no_grad():
            fake = generator(torch.randn(8, 3))
        mix = torch.rand(8, 1)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        (slope,) = autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = ((slope.norm(2, dim=1) - 1) ** 2).mean()
        loss = critic(fake).mean() - critic(real).mean() + 10 * penalty
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        penalties.append(penalty.item())
    for parameter in critic.parameters():
        parameter.requires_grad_(False)
    cost = -critic(generator(torch.randn(8, 3))).mean()
    of_generator.zero_grad()
    cost.backward()
    of_generator.step()
    print(f"{step}: critic {loss.item():.6f} generator {cost.item():.6f}")
print(["%.6f" % penalty for penalty in penalties])
