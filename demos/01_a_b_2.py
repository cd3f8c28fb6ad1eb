# A * B * 2, the picture that every autograd tutorial draws by hand, and its leaf table.
#
# Look at: A and B are leaves, so backward fills their .grad (40 and 20). F and G are results: their gradient
# flows through and is not kept. C and D need no gradient: both count as leaves, though D is a result.
#
#   gradscope trace --graph ab2.svg demos/01_a_b_2.py

import torch

A = torch.tensor([10.0], requires_grad=True)
B = torch.tensor([20.0], requires_grad=True)
F = A * B
G = F * 2

C = torch.tensor([2.0])
D = C * 3

G.backward()

print("case                          name  requires_grad  is_leaf  grad_fn        grad")
for case, name, tensor in [
    ("1 needs grad, made by you", "A", A),
    ("1 needs grad, made by you", "B", B),
    ("2 needs grad, a result", "F", F),
    ("2 needs grad, a result", "G", G),
    ("3 no grad, made by you", "C", C),
    ("4 no grad, a result", "D", D),
]:
    grad = tensor.grad.item() if tensor.is_leaf and tensor.grad is not None else None
    grad_fn = tensor.grad_fn.name() if tensor.grad_fn else None
    print(f"{case:28}  {name:4}  {tensor.requires_grad!s:13}  {tensor.is_leaf!s:7}  {grad_fn!s:13}  {grad}")
