# An MLP mixer written with einops: rearrange, reduce, einsum and layers.
import torch
from einops import einsum, rearrange, reduce, repeat
from einops.layers.torch import Rearrange, Reduce
from torch import nn

torch.manual_seed(0)


class Mix(nn.Module):
    def __init__(self):
        super().__init__()
        self.places, self.channels = nn.Linear(4, 4), nn.Linear(8, 8)

    def forward(self, x):
        x = x + rearrange(self.places(rearrange(x, "b n c -> b c n")), "b c n -> b n c")
        return x + self.channels(x).tanh()


net = nn.Sequential(
    Rearrange("b c (h p) (w q) -> b (h w) (p q c)", p=2, q=2),
    nn.Linear(4, 8),
    Mix(),
    Mix(),
    Reduce("b n c -> b c", "mean"),
    nn.Linear(8, 2),
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for step in range(4):
    x = torch.randn(3, 1, 4, 4)
    out = net(x)
    weight = repeat(torch.tensor([1.0, 2.0]), "k -> b k", b=3)
    loss = reduce(einsum(out, weight, "b k, b k -> b") ** 2, "b -> ", "sum")
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}")
