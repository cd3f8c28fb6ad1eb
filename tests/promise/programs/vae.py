# A variational autoencoder: the reparametrization trick, a loss of two terms, and pictures drawn from the prior.
import torch
import torch.nn.functional as F
from torch import nn
from torch.distributions import Normal, kl_divergence


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(36, 24), nn.ReLU())
        self.mean, self.spread = nn.Linear(24, 4), nn.Linear(24, 4)
        self.decoder = nn.Sequential(nn.Linear(4, 24), nn.ReLU(), nn.Linear(24, 36), nn.Sigmoid())

    def forward(self, x):
        hidden = self.encoder(x)
        code = Normal(self.mean(hidden), (0.5 * self.spread(hidden)).exp())
        return self.decoder(code.rsample()), code


torch.manual_seed(0)
vae = VAE()
optimizer = torch.optim.Adam(vae.parameters(), lr=1e-2)
pictures = torch.rand(40, 36)
for epoch in range(3):
    total = 0.0
    for batch in pictures.split(10):
        made, code = vae(batch)
        loss = F.binary_cross_entropy(made, batch, reduction="sum") + kl_divergence(code, Normal(0.0, 1.0)).sum()
        optimizer.zero_grad()
        loss.backward()
        total += loss.item()
        optimizer.step()
    print(f"epoch {epoch}: {total / len(pictures):.5f}")
with torch.inference_mode():
    drawn = vae.decoder(torch.randn(2, 4))
print(drawn.shape, drawn.is_inference(), drawn.mean())
