# Forward-mode differentiation: dual numbers, a directional derivative of a module, forward over reverse.
import torch
import torch.autograd.forward_ad as fwAD
from torch import nn
from torch.func import functional_call, jvp

torch.manual_seed(181)
net = nn.Sequential(nn.Linear(3, 5), nn.Softplus(), nn.Linear(5, 2))
x, direction = torch.randn(4, 3), torch.randn(4, 3)
with fwAD.dual_level():
    dual = fwAD.make_dual(x, direction)
    out = net(dual)
    value, slope = fwAD.unpack_dual(out)
    print(slope, fwAD.unpack_dual(x).tangent)
weights = {name: p.detach() for name, p in net.named_parameters()}
moves = {name: torch.randn_like(p) for name, p in weights.items()}
print(jvp(lambda w: functional_call(net, w, (x,)), (weights,), (moves,))[1])
for step in range(2):
    with fwAD.dual_level():
        leaf = x.clone().requires_grad_()
        bent = fwAD.make_dual(leaf, direction)
        (gradient,) = torch.autograd.grad(net(bent).pow(2).sum(), bent, create_graph=True)
        print(step, fwAD.unpack_dual(gradient).tangent.norm())
slope.sum().backward()
print([None if p.grad is None else p.grad.norm() for p in net.parameters()])
