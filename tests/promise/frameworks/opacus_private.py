# Private training by Opacus: per-sample gradients by hooks, noise, the budget that is spent.
import warnings

import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset

warnings.filterwarnings("ignore")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.ReLU(), torch.nn.Linear(6, 2))
loader = DataLoader(TensorDataset(torch.randn(24, 4), torch.randint(0, 2, (24,))), 8)
engine = PrivacyEngine(accountant="rdp")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
net, optimizer, loader = engine.make_private(
    module=net, optimizer=optimizer, data_loader=loader, noise_multiplier=1.0, max_grad_norm=1.0
)
for x, y in loader:
    optimizer.zero_grad()
    loss = torch.nn.functional.cross_entropy(net(x), y)
    loss.backward()
    shapes = [tuple(p.grad_sample.shape) for p in net.parameters()]
    optimizer.step()
    print(f"{loss.item():.6f}", shapes[0][1:], len(x))
print(round(engine.get_epsilon(1e-5), 4))
