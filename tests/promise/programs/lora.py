# Low-rank adapters by hand: frozen weights, layers replaced in place, merged at the end, half of it saved.
import math

import torch
from torch import nn


class LoRA(nn.Module):
    def __init__(self, base, rank=2, alpha=4):
        super().__init__()
        self.base, self.scale = base, alpha / rank
        self.down = nn.Parameter(torch.empty(rank, base.in_features))
        self.up = nn.Parameter(torch.zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))

    def forward(self, x):
        return self.base(x) + (x @ self.down.T @ self.up.T) * self.scale

    @torch.no_grad()
    def merged(self):
        self.base.weight += self.scale * self.up @ self.down
        return self.base


torch.manual_seed(12)
model = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 12), nn.GELU(), nn.Linear(12, 2))
model.requires_grad_(False)
for number in (0, 2):
    model[number] = LoRA(model[number])
trained = [p for p in model.parameters() if p.requires_grad]
print(f"{sum(p.numel() for p in trained)} of {sum(p.numel() for p in model.parameters())} are trained")
optimizer = torch.optim.AdamW(trained, lr=1e-2)
x, y = torch.randn(16, 6), torch.randn(16, 2)
for step in range(5):
    loss = (model(x) - y).pow(2).mean()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    print(step, loss.item())
before = model(x)
for number in (0, 2):
    model[number] = model[number].merged()
print(torch.allclose(before, model(x), atol=1e-5), all(p.grad is None for p in model.parameters()))
