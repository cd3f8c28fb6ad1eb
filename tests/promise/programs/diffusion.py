# Denoising diffusion in two dimensions: a schedule in buffers, an average of the weights, sampling backwards in time.
import copy
import math

import torch
from torch import nn


class Noise(nn.Module):
    def __init__(self, steps):
        super().__init__()
        self.steps = steps
        self.net = nn.Sequential(nn.Linear(2 + 8, 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 2))
        beta = torch.linspace(1e-3, 0.2, steps)
        self.register_buffer("beta", beta)
        self.register_buffer("kept", torch.cumprod(1 - beta, 0))
        self.register_buffer("frequencies", torch.exp(torch.arange(4) * -math.log(10.0) / 4), persistent=False)

    def forward(self, x, t):
        angle = t[:, None].float() * self.frequencies
        return self.net(torch.cat([x, angle.sin(), angle.cos()], 1))

    def loss(self, x):
        t = torch.randint(0, self.steps, (len(x),))
        noise = torch.randn_like(x)
        kept = self.kept[t].unsqueeze(1)
        return nn.functional.mse_loss(self(kept.sqrt() * x + (1 - kept).sqrt() * noise, t), noise)

    @torch.no_grad()
    def sample(self, count):
        x = torch.randn(count, 2)
        for t in reversed(range(self.steps)):
            predicted = self(x, torch.full((count,), t))
            x = (x - self.beta[t] / (1 - self.kept[t]).sqrt() * predicted) / (1 - self.beta[t]).sqrt()
            if t:
                x += self.beta[t].sqrt() * torch.randn_like(x)
        return x


torch.manual_seed(4)
model = Noise(8)
average = copy.deepcopy(model).requires_grad_(False).eval()
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
angle = torch.rand(64) * 2 * math.pi
ring = torch.stack([angle.cos(), angle.sin()], 1)
for step in range(8):
    optimizer.zero_grad(set_to_none=True)
    loss = model.loss(ring[torch.randint(0, 64, (32,))])
    loss.backward()
    optimizer.step()
    for slow, fast in zip(average.parameters(), model.parameters()):
        slow.lerp_(fast.detach(), 0.1)
    print(step, loss.item())
print(average.sample(3), list(model.state_dict()))
