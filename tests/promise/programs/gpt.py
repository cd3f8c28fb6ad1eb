# A decoder-only transformer with tied embeddings, weight decay groups, warm-up and gradient accumulation.
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    words: int = 31
    width: int = 24
    heads: int = 3
    layers: int = 2
    context: int = 12


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.heads = config.heads
        self.norm1, self.norm2 = nn.LayerNorm(config.width), nn.LayerNorm(config.width, bias=False)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.mlp = nn.Sequential(nn.Linear(config.width, 48), nn.GELU(approximate="tanh"), nn.Linear(48, config.width))

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = (
            part.view(batch, length, self.heads, -1).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(width, 2)
        )
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.norm2(x))


class GPT(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.token, self.place = nn.Embedding(config.words, config.width), nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList([Block(config) for _ in range(config.layers)])
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.words, bias=False)
        self.head.weight = self.token.weight
        self.apply(self._start)

    @staticmethod
    def _start(module):
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)

    def forward(self, tokens, targets=None):
        x = self.token(tokens) + self.place(torch.arange(tokens.shape[1]))
        for block in self.blocks:
            x = block(x)
        scores = self.head(self.norm(x))
        return scores, None if targets is None else F.cross_entropy(
            scores.flatten(0, 1), targets.flatten(), ignore_index=-1
        )

    @torch.no_grad()
    def generate(self, tokens, count):
        for _ in range(count):
            scores, _ = self(tokens[:, -self.config.context :])
            top, _ = torch.topk(scores[:, -1], 5)
            scores = scores[:, -1].masked_fill(scores[:, -1] < top[:, [-1]], -math.inf)
            tokens = torch.cat([tokens, torch.multinomial(scores.softmax(-1), 1)], 1)
        return tokens


torch.manual_seed(1337)
model = GPT(Config())
decayed = [p for p in model.parameters() if p.dim() >= 2]
plain = [p for p in model.parameters() if p.dim() < 2]
optimizer = torch.optim.AdamW(
    [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}], lr=3e-3, betas=(0.9, 0.95)
)
data = torch.randint(0, 31, (200,))
for step in range(6):
    for group in optimizer.param_groups:
        group["lr"] = 3e-3 * min(1.0, (step + 1) / 3)
    for micro in range(2):
        starts = torch.randint(0, 180, (4,))
        x, y = (torch.stack([data[s + shift : s + shift + 12] for s in starts]) for shift in (0, 1))
        _, loss = model(x, y)
        (loss / 2).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    print(step, f"{loss.item():.6f}")
model.eval()
print(model.generate(torch.zeros(1, 1, dtype=torch.long), 15).tolist())
print(sum(p.numel() for p in model.parameters()), model.head.weight is model.token.weight)
