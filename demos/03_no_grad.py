# Three ways to stop autograd: no_grad, detach and inference_mode.
#
# Look at: the paths that end where each was used, and the versions. A tensor made under no_grad is an ordinary
# tensor (version 0), detach shares the version counter of its source, an inference tensor has none.
#
#   gradscope trace --graph stopped.svg demos/03_no_grad.py

import torch

x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)

with torch.no_grad():
    a = x * 2
print("no_grad:        requires_grad", a.requires_grad, "grad_fn", a.grad_fn, "version", a._version)

y = x * 3
b = y.detach()
y.mul_(2)
print("detach:         requires_grad", b.requires_grad, "grad_fn", b.grad_fn, "version", b._version, "y's", y._version)

with torch.inference_mode():
    c = x * 4
print("inference_mode: requires_grad", c.requires_grad, "grad_fn", c.grad_fn, "is_inference", c.is_inference())
try:
    print(c._version)
except RuntimeError as error:
    print("                version:", str(error).splitlines()[0])

# `a` and `b` are constants here: the gradient of x comes through `y` alone.
total = (a + b + y).sum()
total.backward()
print("x.grad", x.grad)
