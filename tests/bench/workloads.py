"""The work that is measured. Each is the loop a user would write."""

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


def small_gpt() -> Loop:
    """2 layers, width 128, sequence 64, batch 4, AdamW, one thread: a step of about 10 milliseconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = GPT(256, layers=2, width=128, length=64)
    optimizer = torch.optim.AdamW(model.parameters())
    tokens = torch.randint(256, (4, 65))

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            logits = model(tokens[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
            loss.backward()
            optimizer.step()

    return train


def _training(model: nn.Module, inputs: Tensor, loss_of: Callable[[Tensor], Tensor]) -> Loop:
    optimizer = torch.optim.Adam(model.parameters())

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            loss = loss_of(model(inputs))
            loss.backward()
            optimizer.step()

    return train


def cnn() -> Loop:
    """Two convolutions and a head on 16 pictures of 20 by 20, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip
    labels = torch.randint(10, (16,))
    return _training(model, torch.randn(16, 1, 20, 20), lambda out: F.cross_entropy(out, labels))


def attention() -> Loop:
    """One encoder layer: width 32, 4 heads, 8 sequences of 16, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    return _training(model, torch.randn(8, 16, 32), lambda out: out.square().mean())


class Last(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells, self.head = nn.LSTM(8, 16), nn.Linear(16, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cells(x)[0][-1])


def lstm() -> Loop:
    """`nn.LSTM` over 20 steps, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return _training(Last(), torch.randn(20, 8, 8), lambda out: out.square().mean())


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 64), nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.second(F.relu(self.first(x.view(x.shape[0], -1)))), 1)


def functional() -> Loop:
    """A network written with `view`, `F.relu` and `F.nll_loss`, one thread."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    labels = torch.randint(10, (16,))
    return _training(Functional(), torch.randn(16, 4, 8), lambda out: F.nll_loss(out, labels))


def neural_ode() -> Loop:
    """An ODE solved with steps whose number changes, its gradient by the adjoint: a custom Function around solvers."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    field = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(field.parameters())
    counts = itertools.cycle(range(10, 40))

    class Adjoint(torch.autograd.Function):
        @staticmethod
        def forward(ctx, y, steps, *parameters):  # type: ignore[no-untyped-def]
            with torch.no_grad():
                for _ in range(steps):
                    y = y + field(y) / steps
            ctx.steps = steps
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            (y,) = ctx.saved_tensors
            parameters = tuple(field.parameters())
            sums = [torch.zeros_like(parameter) for parameter in parameters]
            for _ in range(ctx.steps):
                with torch.enable_grad():
                    y = y.detach().requires_grad_()
                    slope = field(y) / ctx.steps
                    to_y, *to_parameters = torch.autograd.grad(slope, (y, *parameters), grad)
                y, grad = y - slope, grad + to_y
                sums = [total + part for total, part in zip(sums, to_parameters)]
            return (grad, None, *sums)

    def train(steps: int) -> None:
        for _ in range(steps):
            optimizer.zero_grad()
            end = Adjoint.apply(torch.randn(8, 2), next(counts), *field.parameters())
            end.square().mean().backward()
            optimizer.step()

    return train


def dqn() -> Loop:
    """Q-learning from a replay buffer: the network acts, remembers, and learns from what it drew."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    network, target = (nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2)) for _ in range(2))
    target.load_state_dict(network.state_dict())
    optimizer = torch.optim.Adam(network.parameters())
    memory: list[tuple[Tensor, int, float, Tensor]] = []
    state = [torch.randn(4)]

    def train(steps: int) -> None:
        for step in range(steps):
            with torch.no_grad():
                action = int(network(state[0]).argmax())
            following = torch.randn(4)
            memory.append((state[0], action, float(following[action]), following))
            del memory[:-200]
            state[0] = following
            picked = [memory[int(place)] for place in torch.randint(len(memory), (16,))]
            states, nexts = torch.stack([one[0] for one in picked]), torch.stack([one[3] for one in picked])
            actions, rewards = torch.tensor([one[1] for one in picked]), torch.tensor([one[2] for one in picked])
            with torch.no_grad():
                goal = rewards + 0.9 * target(nexts).max(1).values
            loss = F.smooth_l1_loss(network(states).gather(1, actions[:, None])[:, 0], goal)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % 50 == 0:
                target.load_state_dict(network.state_dict())

    return train


def reinforce() -> Loop:
    """Policy gradients over episodes of 10 to 200 moves."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    policy = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 2))
    optimizer = torch.optim.Adam(policy.parameters())
    lengths = itertools.cycle([10, 200, 35, 120, 64, 17, 90])

    def train(steps: int) -> None:
        for _ in range(steps):
            state, chances, rewards = torch.randn(4), [], []
            for _ in range(next(lengths)):
                chosen = torch.distributions.Categorical(logits=policy(state))
                action = chosen.sample()
                chances.append(chosen.log_prob(action))
                state = state * 0.9 + torch.randn(4) * 0.1
                rewards.append(float(state[int(action)]))
            loss = -(torch.stack(chances) * torch.tensor(rewards)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return train


def unrolled(passes: int) -> Loop:
    """A step of ten ops a pass: LBFGS around an `nn.LSTMCell` called for each number of a long series."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    cell, head = nn.LSTMCell(1, 8), nn.Linear(8, 1)
    optimizer = torch.optim.LBFGS([*cell.parameters(), *head.parameters()], max_iter=1)
    series = torch.sin(torch.linspace(0, 30, passes + 1))[:, None]

    def train(steps: int) -> None:
        def closure() -> Tensor:
            optimizer.zero_grad()
            state, outputs = (torch.zeros(1, 8), torch.zeros(1, 8)), []
            for value in series[:-1]:
                state = cell(value[None], state)
                outputs.append(head(state[0]))
            loss = F.mse_loss(torch.cat(outputs), series[1:])
            loss.backward()
            return loss

        for _ in range(steps):
            optimizer.step(closure)

    return train


def chain(length: int) -> Tensor:
    """`length` ops, each on the result of the one before."""
    x = torch.ones(1, requires_grad=True)
    y = x
    for _ in range(length):
        y = y + 1
    return y
