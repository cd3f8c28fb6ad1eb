# TorchScript: traced, scripted, a graph printed, a saved module loaded and trained on.
import io
import warnings

import torch
from torch import nn

warnings.filterwarnings("ignore", category=DeprecationWarning)
torch.manual_seed(101)


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor, deep: bool = True) -> torch.Tensor:
        x = torch.relu(self.first(x))
        if deep:
            for _ in range(2):
                x = x + torch.sin(x)
        return self.second(x)


@torch.jit.script
def total(values: list[torch.Tensor], power: int) -> torch.Tensor:
    out = torch.zeros(1)
    for value in values:
        out = out + value.pow(power).sum()
    return out


gate = Gate()
scripted, traced = torch.jit.script(gate), torch.jit.trace(gate, (torch.ones(1, 3),))
print(traced.graph)
print(scripted.code, total.graph, sep="\n")
optimizer = torch.optim.SGD(scripted.parameters(), lr=0.1)
for step in range(4):
    optimizer.zero_grad()
    loss = total([scripted(torch.randn(2, 3)), traced(torch.randn(2, 3))], 2)
    loss.backward()
    optimizer.step()
    print(step, loss.item())
file = io.BytesIO()
torch.jit.save(traced, file)
file.seek(0)
print(torch.jit.load(file)(torch.ones(1, 3)))
del file  # its bytes tell the whole stack
