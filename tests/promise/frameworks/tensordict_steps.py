# Tensor dictionaries: stacked, reshaped, as modules, functional weights, memory-mapped to disk.
import torch
from tensordict import TensorDict
from tensordict.nn import TensorDictModule, TensorDictSequential

torch.manual_seed(0)
policy = TensorDictSequential(
    TensorDictModule(torch.nn.Linear(3, 6), in_keys=["seen"], out_keys=["hidden"]),
    TensorDictModule(torch.nn.Linear(6, 2), in_keys=["hidden"], out_keys=["action"]),
)
optimizer = torch.optim.Adam(policy.parameters(), lr=1e-2)
for step in range(4):
    batch = TensorDict({"seen": torch.randn(5, 3), "next": {"reward": torch.rand(5, 1)}}, [5])
    out = policy(batch)
    loss = (out["action"].mean(1, keepdim=True) - out["next", "reward"]).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}", sorted(out.keys()))
weights = TensorDict.from_module(policy)
print(weights.batch_size, torch.stack([batch, batch]).flatten(0, 1).shape, len(list(weights.keys(True, True))))
