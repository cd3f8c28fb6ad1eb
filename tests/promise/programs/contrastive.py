# SimCLR's loss over two views, then MoCo's: a momentum encoder and a queue written in place.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(8)
encoder = nn.Sequential(nn.Linear(10, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 6))
slow = nn.Sequential(nn.Linear(10, 24), nn.BatchNorm1d(24), nn.ReLU(), nn.Linear(24, 6))
slow.load_state_dict(encoder.state_dict())
slow.requires_grad_(False)
optimizer = torch.optim.SGD(encoder.parameters(), lr=0.05, momentum=0.9, nesterov=True)
queue, place = F.normalize(torch.randn(6, 16), dim=0), 0
same = torch.arange(16).roll(8)
for step in range(5):
    data = torch.randn(8, 10)
    views = torch.cat([data + 0.1 * torch.randn_like(data), data * (torch.rand_like(data) > 0.2)])
    codes = F.normalize(encoder(views), dim=1)
    alike = (codes @ codes.T / 0.5).masked_fill(torch.eye(16, dtype=torch.bool), float("-inf"))
    simclr = F.cross_entropy(alike, same)
    with torch.no_grad():
        for kept, new in zip(slow.parameters(), encoder.parameters()):
            kept.mul_(0.99).add_(new, alpha=0.01)
        keys = F.normalize(slow(views[8:]), dim=1)
    scores = torch.cat([(codes[:8] * keys).sum(1, keepdim=True), codes[:8] @ queue.clone()], 1)
    moco = F.cross_entropy(scores / 0.07, torch.zeros(8, dtype=torch.long))
    optimizer.zero_grad()
    (simclr + 0.1 * moco).backward()
    optimizer.step()
    queue[:, place : place + 8] = keys.T
    place = (place + 8) % 16
    print(step, f"{simclr.item():.6f} {moco.item():.6f}", queue._version)
