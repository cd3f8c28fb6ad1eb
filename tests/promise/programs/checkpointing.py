# Activations computed again in backward, of both kinds, with dropout and saved random state.
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

torch.manual_seed(71)
runs = 0


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.drop = nn.Linear(8, 8), nn.Dropout(0.3)

    def forward(self, x):
        global runs
        runs += 1
        return x + self.drop(torch.tanh(self.layer(x)))


blocks = nn.Sequential(*[Block() for _ in range(4)])
optimizer = torch.optim.Adam(blocks.parameters(), lr=1e-2)
for step in range(3):
    for reentrant in (False, True):
        x = torch.randn(5, 8, requires_grad=True)
        y = x
        for block in blocks:
            y = checkpoint(block, y, use_reentrant=reentrant)
        loss = y.pow(2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(step, reentrant, runs, f"{loss.item():.6f}", f"{x.grad.norm():.6f}")
out = checkpoint_sequential(blocks, 2, torch.randn(5, 8, requires_grad=True), use_reentrant=False)
out.sum().backward()
print(runs, blocks[0].layer.weight.grad.norm())
