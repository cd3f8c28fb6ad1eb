# A mixture of experts: top-2 routing, index_add into the output, a loss that balances the load.
import torch
from torch import nn


class Mixture(nn.Module):
    def __init__(self, width=8, experts=4):
        super().__init__()
        self.gate = nn.Linear(width, experts, bias=False)
        self.experts = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 16), nn.SiLU(), nn.Linear(16, width)) for _ in range(experts)
        )

    def forward(self, x):
        chances = self.gate(x).softmax(-1)
        weights, chosen = chances.topk(2)
        weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for number, expert in enumerate(self.experts):
            rows, slots = torch.where(chosen == number)
            if rows.numel():
                out.index_add_(0, rows, expert(x[rows]) * weights[rows, slots, None])
        used = torch.zeros_like(chances).scatter_(1, chosen, 1.0).mean(0)
        return out, len(self.experts) * (used * chances.mean(0)).sum()


torch.manual_seed(6)
model = nn.ModuleDict({"mix": Mixture(), "head": nn.Linear(8, 3)})
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
for step in range(5):
    x, y = torch.randn(20, 8), torch.randint(0, 3, (20,))
    hidden, balance = model["mix"](x)
    loss = nn.functional.cross_entropy(model["head"](x + hidden), y) + 0.01 * balance
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    unused = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    print(step, f"{loss.item():.6f}", f"{balance.item():.4f}", unused)
