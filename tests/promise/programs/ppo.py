# Proximal policy optimization: generalized advantages, clipped ratios, several epochs over one rollout.
import torch
from torch import nn
from torch.distributions import Normal


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.critic = nn.Sequential(self.layer(nn.Linear(3, 16)), nn.Tanh(), self.layer(nn.Linear(16, 1), 1.0))
        self.actor = nn.Sequential(self.layer(nn.Linear(3, 16)), nn.Tanh(), self.layer(nn.Linear(16, 1), 0.01))
        self.spread = nn.Parameter(torch.zeros(1, 1))

    @staticmethod
    def layer(linear, gain=2**0.5):
        nn.init.orthogonal_(linear.weight, gain)
        nn.init.constant_(linear.bias, 0.0)
        return linear

    def act(self, state, action=None):
        mean = self.actor(state)
        chosen = Normal(mean, self.spread.expand_as(mean).exp())
        action = chosen.sample() if action is None else action
        return action, chosen.log_prob(action).sum(1), chosen.entropy().sum(1), self.critic(state)


torch.manual_seed(11)
agent = Agent()
optimizer = torch.optim.Adam(agent.parameters(), lr=2.5e-3, eps=1e-5)
length, worlds = 8, 4
state = torch.randn(worlds, 3)
for update in range(3):
    states, actions, chances, rewards, values = [], [], [], [], []
    for _ in range(length):
        with torch.no_grad():
            action, chance, _, value = agent.act(state)
        states.append(state), actions.append(action), chances.append(chance), values.append(value.flatten())
        state = (state + 0.1 * action).clamp(-2, 2)
        rewards.append(-state.square().sum(1))
    with torch.no_grad():
        advantages, last, following = torch.zeros(length, worlds), 0, agent.critic(state).flatten()
        for t in reversed(range(length)):
            surprise = rewards[t] + 0.99 * (values[t + 1] if t + 1 < length else following) - values[t]
            advantages[t] = last = surprise + 0.99 * 0.95 * last
    goal = (advantages + torch.stack(values)).flatten()
    S, A, P, Adv = torch.cat(states), torch.cat(actions), torch.cat(chances), advantages.flatten()
    for epoch in range(2):
        for part in torch.randperm(length * worlds).split(16):
            _, chance, entropy, value = agent.act(S[part], A[part])
            ratio = (chance - P[part]).exp()
            advantage = (Adv[part] - Adv[part].mean()) / (Adv[part].std() + 1e-8)
            policy_loss = torch.max(-advantage * ratio, -advantage * ratio.clamp(0.8, 1.2)).mean()
            loss = policy_loss - 0.01 * entropy.mean() + 0.5 * (value.flatten() - goal[part]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), 0.5)
            optimizer.step()
    print(update, f"{loss.item():.6f}", f"{((ratio - 1) - ratio.log()).mean().item():.6f}")
