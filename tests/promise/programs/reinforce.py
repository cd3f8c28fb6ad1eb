# Policy gradients with returns, a distribution's log_prob kept over an episode, and numpy's random numbers.
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.drop, self.second = nn.Linear(3, 16), nn.Dropout(0.4), nn.Linear(16, 2)
        self.chances, self.rewards = [], []

    def forward(self, x):
        return self.second(self.drop(self.first(x)).relu()).softmax(1)


np.random.seed(543)
torch.manual_seed(543)
policy = Policy()
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
smallest = np.finfo(np.float32).eps.item()
for episode in range(5):
    state = np.random.randn(3)
    for _ in range(10):
        chosen = Categorical(policy(torch.from_numpy(state).float().unsqueeze(0)))
        action = chosen.sample()
        policy.chances.append(chosen.log_prob(action))
        state = state * 0.9 + np.random.randn(3) * 0.1
        policy.rewards.append(float(state[action.item()]))
    returns, ahead = [], 0.0
    for reward in reversed(policy.rewards):
        ahead = reward + 0.99 * ahead
        returns.insert(0, ahead)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + smallest)
    optimizer.zero_grad()
    loss = torch.cat([-chance * value for chance, value in zip(policy.chances, returns)]).sum()
    loss.backward()
    optimizer.step()
    print(f"episode {episode}\treturn {sum(policy.rewards):.4f}\tloss {loss.item():.6f}")
    del policy.rewards[:], policy.chances[:]
