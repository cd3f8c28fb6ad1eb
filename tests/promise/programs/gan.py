# Two networks against each other: DCGAN's way, with labels, detach and weights drawn anew.
import torch
from torch import nn


def start(module):
    if "Conv" in type(module).__name__:
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif "BatchNorm" in type(module).__name__:
        nn.init.normal_(module.weight, 1.0, 0.02)
        nn.init.zeros_(module.bias)


torch.manual_seed(999)
G = nn.Sequential(
    nn.ConvTranspose2d(8, 8, 4), nn.BatchNorm2d(8), nn.ReLU(True), nn.ConvTranspose2d(8, 1, 4, 2, 1), nn.Tanh()
).apply(start)
D = nn.Sequential(nn.Conv2d(1, 8, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True), nn.Conv2d(8, 1, 4), nn.Sigmoid()).apply(
    start
)
print(G, D, sep="\n")
criterion = nn.BCELoss()
of_g = torch.optim.Adam(G.parameters(), lr=2e-4, betas=(0.5, 0.999))
of_d = torch.optim.Adam(D.parameters(), lr=2e-4, betas=(0.5, 0.999))
fixed = torch.randn(2, 8, 1, 1)
history = []
for step in range(4):
    D.zero_grad()
    real = torch.rand(6, 1, 8, 8) * 2 - 1
    label = torch.full((6,), 1.0)
    on_real = criterion(D(real).view(-1), label)
    on_real.backward()
    fake = G(torch.randn(6, 8, 1, 1))
    label.fill_(0.0)
    on_fake = criterion(D(fake.detach()).view(-1), label)
    on_fake.backward()
    of_d.step()
    G.zero_grad()
    label.fill_(1.0)
    on_g = criterion(D(fake).view(-1), label)
    on_g.backward()
    of_g.step()
    history.append((on_real.item() + on_fake.item(), on_g.item()))
    print("[%d] D %.5f G %.5f" % (step, *history[-1]))
with torch.no_grad():
    print(G(fixed).sum())
