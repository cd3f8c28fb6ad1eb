# torch.compile with the eager and the aot backends: graph breaks, recompilations, guards, in a training loop.
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

torch.manual_seed(111)
counter = CompileCounter()
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
fast = torch.compile(net, backend=counter)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
for step in range(4):
    x = torch.randn(8 if step < 3 else 5, 4)
    optimizer.zero_grad()
    loss = fast(x).square().mean()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), counter.frame_count, counter.op_count)


@torch.compile(backend="aot_eager")
def broken(x):
    y = x.sin()
    print("in between")
    return y.cos() if y.sum() > 0 else y * 2


for start in (0.1, -0.1):
    leaf = torch.full((3,), start, requires_grad=True)
    broken(leaf).sum().backward()
    print(leaf.grad)
print(list(fast.state_dict()))
