# Pruning: masks by magnitude, on all layers at once, made permanent; the hooks' ids are printed, as tutorials do.
import torch
from torch import nn
from torch.nn.utils import prune

torch.manual_seed(151)
net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4))
conv, linear = net[0], net[3]
prune.random_unstructured(conv, name="weight", amount=0.3)
print(dict(conv.named_buffers()).keys(), list(conv._forward_pre_hooks), conv.weight.grad_fn)
prune.l1_unstructured(conv, name="bias", amount=1)
prune.ln_structured(linear, name="weight", amount=0.5, n=2, dim=0)
optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
for step in range(3):
    optimizer.zero_grad()
    loss = net(torch.randn(5, 1, 4, 4)).pow(2).mean()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), f"{100.0 * float((conv.weight == 0).sum()) / conv.weight.nelement():.1f} %")
print(conv._forward_pre_hooks)
for module in (conv, linear):
    prune.remove(module, "weight")
prune.global_unstructured([(conv, "weight"), (linear, "weight")], pruning_method=prune.L1Unstructured, amount=0.2)
print(list(net.state_dict()), prune.is_pruned(net))
