# Moving a tensor makes a new one: the copy is a result, and the original keeps the gradient.
#
# Look at: a_moved has grad_fn ToCopyBackward0 and is no leaf, so a gets the gradient and a_moved has none. A
# tensor made on the device in the first place is a leaf there. On a machine without CUDA the script moves to
# another dtype: the same ToCopyBackward0, the same lesson.
#
#   gradscope graph demos/08_device_move.py -o move.svg

import torch

there = {"device": "cuda"} if torch.cuda.is_available() else {"dtype": torch.float64}
print("moving to", " ".join(str(value) for value in there.values()))

a = torch.tensor([10.0], requires_grad=True)
b = torch.tensor([20.0], requires_grad=True)
a_moved = a.to(**there)
b_moved = b.to(**there)
F = a_moved * b_moved
G = F * 2
G.backward()

print("a:       is_leaf", a.is_leaf, " grad", a.grad.item())
print("a_moved: is_leaf", a_moved.is_leaf, "grad_fn", a_moved.grad_fn.name())

a_there = torch.tensor([10.0], requires_grad=True, **there)
b_there = torch.tensor([20.0], requires_grad=True, **there)
G_there = a_there * b_there * 2
G_there.backward()
print("a_there: is_leaf", a_there.is_leaf, " grad", a_there.grad.item())
