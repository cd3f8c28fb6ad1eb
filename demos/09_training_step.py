# The five lines of a training step, and what each does to the parameters and to their gradients.
#
# Look at: zero_grad clears the gradients, the forward and the loss touch neither, backward fills the
# gradients, step changes the parameters. The optimizer never sees the loss: it reads parameter.grad.
#
#   gradscope trace demos/09_training_step.py && gradscope info 09_training_step.gradscope

import torch
from torch import nn

torch.manual_seed(0)
inputs = torch.randn(16, 4)
labels = torch.randint(3, (16,))

net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
weight = net[0].weight


def show(line):
    grad = "None" if weight.grad is None else f"{weight.grad.sum():+.6f}"
    print(f"{line:24} weight sum {weight.sum():+.6f}   grad sum {grad}")


for step in range(3):
    print("step", step)
    optimizer.zero_grad()
    show("  optimizer.zero_grad()")
    outputs = net(inputs)
    show("  outputs = net(inputs)")
    loss = criterion(outputs, labels)
    show("  loss = criterion(...)")
    loss.backward()
    show("  loss.backward()")
    optimizer.step()
    show("  optimizer.step()")
    print(f"  loss {loss.item():.6f}")
