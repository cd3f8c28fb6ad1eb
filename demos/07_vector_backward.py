# backward of a vector: it needs a gradient of the same shape to start from.
#
# Look at: G.backward() alone is refused, since only a scalar has an obvious gradient of one. With
# torch.ones(G.shape) it is the backward of G.sum(); other weights give the vector-Jacobian product.
#
#   gradscope trace demos/07_vector_backward.py

import torch

A = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
B = torch.tensor([4.0, 5.0, 6.0], requires_grad=True)
G = A * B * 2

try:
    G.backward()
except RuntimeError as error:
    print("refused:", error)

G.backward(torch.ones(G.shape), retain_graph=True)
print("ones:    A.grad", A.grad.tolist(), "B.grad", B.grad.tolist())

weights = torch.tensor([1.0, 0.0, 10.0])
(weighted,) = torch.autograd.grad(G, [A], grad_outputs=weights)
print("weights: dG/dA", weighted.tolist(), "and A.grad is untouched:", A.grad.tolist())
