# Learning to learn: inner steps kept in the graph, the outer gradient goes through them.
import torch
import torch.nn.functional as F

torch.manual_seed(21)


def net(x, weights):
    w1, b1, w2, b2 = weights
    return F.linear(F.relu(F.linear(x, w1, b1)), w2, b2)


meta = [torch.randn(16, 1) * 0.5, torch.zeros(16), torch.randn(1, 16) * 0.2, torch.zeros(1)]
meta = [weight.requires_grad_() for weight in meta]
optimizer = torch.optim.Adam(meta, lr=1e-2)
for step in range(4):
    outer = torch.zeros(())
    for _ in range(3):
        height, shift = torch.rand(()) * 4 + 0.1, torch.rand(()) * 3
        x, x2 = torch.rand(5, 1) * 10 - 5, torch.rand(5, 1) * 10 - 5
        weights = meta
        for _ in range(2):
            inner = F.mse_loss(net(x, weights), height * torch.sin(x + shift))
            grads = torch.autograd.grad(inner, weights, create_graph=True)
            weights = [weight - 0.01 * grad for weight, grad in zip(weights, grads)]
        outer = outer + F.mse_loss(net(x2, weights), height * torch.sin(x2 + shift))
    optimizer.zero_grad()
    (outer / 3).backward()
    optimizer.step()
    print(step, f"{outer.item():.6f}", meta[0].grad.norm().item())
