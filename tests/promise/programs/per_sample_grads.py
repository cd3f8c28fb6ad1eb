# torch.func: a gradient for each sample, Jacobians forward and backward, a Hessian, an ensemble by vmap.
import torch
from torch import nn
from torch.func import functional_call, grad, grad_and_value, hessian, jacfwd, jacrev, stack_module_state, vjp, vmap

torch.manual_seed(91)
net = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 2))
weights = {name: value.detach() for name, value in net.named_parameters()}
x, y = torch.randn(4, 3), torch.randint(0, 2, (4,))


def loss_of(weights, sample, label):
    return nn.functional.cross_entropy(functional_call(net, weights, (sample[None],)), label[None])


each = vmap(grad(loss_of), in_dims=(None, 0, 0))(weights, x, y)
one_by_one = [
    torch.autograd.grad(nn.functional.cross_entropy(net(x[i : i + 1]), y[i : i + 1]), list(net.parameters()))
    for i in range(4)
]
print(
    [torch.allclose(each[name], torch.stack([g[k] for g in one_by_one]), atol=1e-6) for k, name in enumerate(weights)]
)
gradient, value = grad_and_value(loss_of)(weights, x[0], y[0])
f = lambda v: torch.sin(v).prod() + v.square().sum()  # noqa: E731
print(value, jacrev(f)(x[0]), jacfwd(f)(x[0]), hessian(f)(x[0]))
out, pull = vjp(f, x[1])
print(out, pull(torch.ones(()))[0])
nets = [nn.Linear(3, 2) for _ in range(3)]
parameters, buffers = stack_module_state(nets)
many = vmap(lambda p, b, v: functional_call(nets[0], (p, b), (v,)), (0, 0, None))(parameters, buffers, x)
many.sum().backward()
print(many.shape, {name: p.grad.shape for name, p in parameters.items()})
