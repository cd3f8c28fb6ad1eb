# Message passing by scatter: a graph convolution and attention over edges, semi-supervised with masks.
import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.map = nn.Linear(inputs, outputs, bias=False)
        self.source, self.target = nn.Parameter(torch.randn(outputs)), nn.Parameter(torch.randn(outputs))

    def forward(self, x, edges):
        h = self.map(x)
        row, column = edges
        score = F.leaky_relu((h @ self.source)[row] + (h @ self.target)[column], 0.2)
        highest = torch.full((len(x),), -1e9).scatter_reduce(0, column, score, "amax")
        weight = (score - highest[column]).exp()
        total = torch.zeros(len(x)).scatter_add(0, column, weight)
        return torch.zeros_like(h).index_add(0, column, h[row] * (weight / total[column])[:, None])


torch.manual_seed(221)
count = 14
edges = torch.randint(0, count, (2, 40))
edges = torch.cat([edges, edges.flip(0), torch.arange(count).repeat(2, 1)], 1)
features, labels = torch.randn(count, 5), torch.randint(0, 3, (count,))
known = torch.zeros(count, dtype=torch.bool)
known[::2] = True
layers = nn.ModuleList([Attention(5, 8), Attention(8, 3)])
optimizer = torch.optim.Adam(layers.parameters(), lr=5e-3, weight_decay=5e-4)
for epoch in range(5):
    layers.train()
    optimizer.zero_grad()
    x = F.dropout(features, 0.5)
    x = F.elu(layers[0](x, edges))
    scores = layers[1](F.dropout(x, 0.5), edges)
    loss = F.cross_entropy(scores[known], labels[known])
    loss.backward()
    optimizer.step()
    print(epoch, loss.item(), (scores.argmax(1) == labels)[~known].float().mean().item())
