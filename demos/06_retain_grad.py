# retain_grad: keep the gradient of a result.
#
# Look at: F is not a leaf, so backward would not fill F.grad. F.retain_grad() asks for it: dG/dF = 2.
# G did not ask, and has none.
#
#   gradscope graph demos/06_retain_grad.py --kind both -o retained.svg

import torch

A = torch.tensor([10.0], requires_grad=True)
B = torch.tensor([20.0], requires_grad=True)
F = A * B
G = F * 2

F.retain_grad()
G.backward()

print("A.grad", A.grad.item(), " B.grad", B.grad.item())
print("F.grad", F.grad.item(), " F retains:", F.retains_grad, " G retains:", G.retains_grad)
