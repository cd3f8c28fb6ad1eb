# requires_grad spreads: one input that needs a gradient is enough for the result to need one.
#
# Look at: `hidden` needs no gradient (all its inputs are frozen), so the graph begins at `head`, and the
# frozen branch hangs beside it without a path back. Only the head's parameters get a .grad.
#
#   gradscope graph demos/02_requires_grad.py -o frozen.svg

import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(3, 3)
w = torch.randn(3, 3)
print("x @ w needs a gradient:", (x @ w).requires_grad)

w.requires_grad_(True)
spread = x @ w
print("after w.requires_grad_(True):", spread.requires_grad)

backbone = nn.Linear(4, 8)
head = nn.Linear(8, 2)
for parameter in backbone.parameters():
    parameter.requires_grad = False

inputs = torch.randn(5, 4)
hidden = backbone(inputs).relu()
loss = head(hidden).square().mean()
loss.backward()

print("hidden needs a gradient:", hidden.requires_grad)
for name, parameter in [*backbone.named_parameters("backbone"), *head.named_parameters("head")]:
    print(f"{name:16} frozen={not parameter.requires_grad!s:6} has .grad={parameter.grad is not None}")
