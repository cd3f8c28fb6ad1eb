# model.train() and model.eval() switch what Dropout and BatchNorm compute. They do not touch autograd.
#
# Look at: running_mean moves while training and stands still in eval; dropout disappears in eval;
# and a backward in eval mode fills the gradients all the same.
#
#   gradscope trace demos/04_train_eval.py && gradscope info 04_train_eval.gradscope

import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
norm = model[1]
data = torch.randn(16, 4) + 1

model.train()
for turn in range(3):
    loss = model(data).square().mean()
    print(f"train {turn}: |running_mean| {norm.running_mean.norm():.4f}  batches seen {norm.num_batches_tracked}")
print("train, twice the same input:", torch.equal(model(data), model(data)))

model.eval()
before = norm.running_mean.clone()
print("eval, twice the same input: ", torch.equal(model(data), model(data)))
print("running_mean stood still:   ", torch.equal(before, norm.running_mean))

loss = model(data).square().mean()
loss.backward()
print("gradients in eval mode:     ", all(parameter.grad is not None for parameter in model.parameters()))
