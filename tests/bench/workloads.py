"""The work that is measured: a tiny MLP, a GPT-like model, a long chain. Each is the loop a user would write."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Loop = Callable[[int], None]


def mlp() -> Loop:
    """32-64-64-10, batch 16, Adam, one thread: a step of about half a millisecond, all of it overhead."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.Adam(model.parameters())
    criterion = nn.CrossEntropyLoss()
    inputs, labels = torch.randn(16, 32), torch.randint(10, (16,))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()

    return train


def changing() -> Loop:
    """A seven-layer network on batches of another size each time, so that hardly a step equals another."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    blocks = [module for _ in range(6) for module in (nn.Linear(16, 16), nn.ReLU())]
    model = nn.Sequential(*blocks, nn.Linear(16, 1))
    optimizer = torch.optim.Adam(model.parameters())
    sizes = itertools.count(8)

    def train(steps: int) -> None:
        for _ in range(steps):
            inputs = torch.randn(next(sizes), 16)
            optimizer.zero_grad()
            nn.functional.mse_loss(model(inputs), inputs[:, :1]).backward()
            optimizer.step()

    return train


class Layer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        shape = (batch, length, self.heads, width // self.heads)
        q, k, v = (part.view(shape).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, dim=-1))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class GPT(nn.Module):
    def __init__(self, vocabulary: int, layers: int, width: int, length: int) -> None:
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(length, width)
        self.layers = nn.ModuleList(Layer(width, heads=4) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.tokens(tokens) + self.positions(torch.arange(tokens.shape[1]))
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x))


def gpt() -> Loop:
    """4 layers, width 256, sequence 128, batch 8, 1,000 tokens, AdamW: a step of real arithmetic."""
    torch.manual_seed(0)
    model = GPT(1000, layers=4, width=256, length=128)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(1000, (8, 129))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            logits = model(tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()

    return train


def chain(length: int) -> Tensor:
    """`length` ops, each on the result of the one before."""
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1
    return y
