# Deep Q-learning on a corridor: a replay memory of named tuples, a target network that follows softly.
import math
import random
from collections import deque, namedtuple

import torch
from torch import nn

Transition = namedtuple("Transition", ("state", "action", "next_state", "reward"))


class Corridor:
    def reset(self):
        self.place, self.time = 0, 0
        return torch.tensor([[0.0, 0.0]])

    def step(self, action):
        self.place += 1 if action else -1
        self.time += 1
        over = self.place == 4 or self.time == 12
        state = None if over else torch.tensor([[self.place / 4, self.time / 12]])
        return state, torch.tensor([1.0 if self.place == 4 else -0.1]), over


random.seed(5)
torch.manual_seed(5)
policy = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
target = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))
target.load_state_dict(policy.state_dict())
optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-2, amsgrad=True)
memory = deque([], maxlen=200)
world, steps, lengths = Corridor(), 0, []


def act(state):
    if random.random() > 0.05 + 0.85 * math.exp(-steps / 60):
        with torch.no_grad():
            return policy(state).max(1).indices.view(1, 1)
    return torch.tensor([[random.randrange(2)]])


def learn():
    if len(memory) < 16:
        return
    batch = Transition(*zip(*random.sample(memory, 16)))
    going = torch.tensor([state is not None for state in batch.next_state])
    value = policy(torch.cat(batch.state)).gather(1, torch.cat(batch.action))
    ahead = torch.zeros(16)
    if going.any():
        with torch.no_grad():
            ahead[going] = target(torch.cat([state for state in batch.next_state if state is not None])).max(1).values
    loss = nn.SmoothL1Loss()(value, (ahead * 0.95 + torch.cat(batch.reward)).unsqueeze(1))
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_value_(policy.parameters(), 100)
    optimizer.step()


for episode in range(6):
    state, over = world.reset(), False
    while not over:
        action = act(state)
        following, reward, over = world.step(action.item())
        memory.append(Transition(state, action, following, reward))
        state, steps = following, steps + 1
        learn()
        followed = target.state_dict()
        for name, value in policy.state_dict().items():
            followed[name] = value * 0.01 + followed[name] * 0.99
        target.load_state_dict(followed)
    lengths.append(world.time)
print(lengths, random.random())
