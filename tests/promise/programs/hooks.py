# Hooks of every kind: on tensors, nodes, modules, parameters, optimizers and saved tensors; their order and ids.
import torch
from torch import nn

torch.manual_seed(131)
net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
told = []


def tell(word):
    return lambda *given: told.append(f"{word} {len(given)}")


handles = [
    net.register_forward_pre_hook(tell("before net")),
    net.register_forward_hook(tell("after net"), always_call=True),
    net[0].register_full_backward_pre_hook(tell("before backward")),
    net[0].register_full_backward_hook(tell("after backward")),
    net[2].weight.register_hook(tell("weight")),
    net[2].weight.register_post_accumulate_grad_hook(tell("accumulated")),
    net[1].register_forward_hook(lambda module, given, out: out * 2),
    optimizer.register_step_pre_hook(tell("before step")),
    optimizer.register_step_post_hook(tell("after step")),
    nn.modules.module.register_module_forward_hook(tell("any module")),
]
print([handle.id for handle in handles], list(net._forward_hooks), list(net[0]._backward_hooks))
for step in range(3):
    out = net(torch.ones(2, 3))
    out.register_hook(lambda grad: grad * 0.5)
    out.grad_fn.register_hook(tell("node"))
    out.grad_fn.register_prehook(tell("node before"))
    out.retain_grad()
    out.sum().backward()
    optimizer.step()
    optimizer.zero_grad()
    print(step, told, out.grad)
    told.clear()
for handle in handles:
    handle.remove()
packed = []
with torch.autograd.graph.saved_tensors_hooks(
    lambda t: packed.append(t.shape) or t.numpy(force=True), torch.from_numpy
):
    y = (torch.ones(2, requires_grad=True) * 3).exp().sum()
y.backward()
with torch.autograd.graph.save_on_cpu():
    net(torch.ones(1, 3)).sum().backward()
print(packed, net(torch.ones(1, 3)), told)
