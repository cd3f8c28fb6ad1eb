# The version counter: why `y.mul_(2)` makes the backward of `y ** 2` fail.
#
# Look at: pow saved y at version 0, mul_ raised it to 1, and backward compares the two. The trace has both
# lines: the one that saved, and the one that changed.
#
#   gradscope trace demos/05_version_counter.py

import torch

x = torch.tensor([1.0, 2.0, 3.0], requires_grad=True)
y = x * 2
z = y**2  # dz/dy = 2y: backward needs the y of this moment
print("version of y:", y._version)

y.mul_(2)
print("version of y:", y._version)

try:
    z.backward(torch.ones(3))
except RuntimeError as error:
    print("backward refused:", str(error).split(":")[0])
