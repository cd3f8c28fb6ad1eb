"""Loops in which one thing changes after some steps, or in every one of them."""

from __future__ import annotations

MODEL = """\
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
errors = []
model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
optimizer = torch.optim.Adam(model.parameters())
criterion = nn.CrossEntropyLoss()
inputs, labels = torch.randn(5, 4), torch.randint(3, (5,))
kept = []
{before}
for step in range(8):
    optimizer.zero_grad()
    outputs = model(inputs)
    {change}
    loss = criterion(outputs, labels)
    loss.backward()
    optimizer.step()
    {after}
"""
CHANGES = {
    "nothing": "pass",
    "a shape": "inputs, labels = (inputs[:3].clone(), labels[:3].clone()) if step == 5 else (inputs, labels)",
    "a dtype": "model.double() if step == 5 else None; inputs = inputs.double() if step == 5 else inputs",
    "a mode": "model.eval() if step == 5 else None",
    "a frozen layer": "model[0].weight.requires_grad_(step < 5)",
    "a version": "model[0].weight.data.add_(0.0) if step == 5 else None; outputs.detach().add_(step // 6)",
    "an op": "outputs = outputs * 1 if step == 5 else outputs",
    "another input": "inputs = inputs.clone() if step == 5 else inputs",
    "the gradient mode": "torch.set_grad_enabled(True); outputs = outputs if step < 5 else outputs.clone()",
    "a kept gradient": "outputs.retain_grad() if step > 5 else None",
    "a tensor that stays": "kept = outputs if step == 5 else None",
    "labels written to": "labels[0] = 1 if step == 5 else labels[0]",
    "another root": "(outputs.sum() if step == 5 else loss).backward() if step > 2 else None",
    "a graph kept": "outputs.sum().backward(retain_graph=step == 5) if step in (4, 5) else None",
    "a call more": "outputs = model[1](outputs) if step == 5 else outputs",
    "a call without gradients": "outputs.add_(torch.no_grad()(model)(inputs) * 0) if step == 5 else None",
    "a mapped call": "torch.func.vmap(model)(inputs) if step == 5 else None",
    "autocast": "outputs = torch.autocast('cpu', enabled=step > 4)(model)(inputs).float() if step > 2 else outputs",
    "inference": "torch.inference_mode()(model)(inputs) if step == 5 else None",
    "an error that is caught": "kept = [] if step != 5 else [caught(model, inputs[:, :2])]",
    "an error of the loss": "kept = [] if step != 5 else [caught(criterion, outputs[:2], labels)]",
}
BETWEEN = {  # what the script does between two steps
    "a hook on a module": "model[0].register_forward_hook(lambda *_: None) if step == 5 else None",
    "a hook that changes": "model[1].register_forward_hook(lambda m, a, out: out * 2) if step == 5 else None",
    "a hook before": "model[1].register_forward_pre_hook(lambda m, a: (a[0] * 2,)) if step == 5 else None",
    "a hook on all": "nn.modules.module.register_module_forward_hook(lambda *_: None).remove() if step == 5 else None",
    "a hook backward": "model[1].register_full_backward_hook(lambda *_: None) if step == 5 else None",
    "another forward": "model[1].forward = torch.tanh if step == 5 else model[1].forward",
    "a weight in its place": "setattr(model[0], 'weight', nn.Parameter(model[0].weight * 2)) if step == 5 else None",
    "other memory": "setattr(model[0].weight, 'data', model[0].weight.data.clone()) if step == 5 else None",
    "no bias": "setattr(model[0], 'bias', None) if step == 5 else None",
    "a setting": "setattr(model[2], 'p', 0.0) if step == 5 else None",
    "in place": "setattr(model[1], 'inplace', step == 5)",
    "weights of the loss": "setattr(criterion, 'weight', torch.ones(3) if step == 5 else None)",
    "a parametrization": "nn.utils.parametrizations.weight_norm(model[0]) if step == 5 else None",
    "a layer": "model.append(nn.Tanh()) if step == 5 else None",
    "a swap of layers": "model.insert(0, model.pop(1)) if step == 5 else None",
    "evaluation": "model.eval(); torch.no_grad()(model)(inputs); model.train()",
    "an evaluation, once": "torch.no_grad()(model)(inputs) if step == 5 else None",
    "gradients zeroed in place": "optimizer.zero_grad(set_to_none=step != 5)",
    "gradients clipped": "nn.utils.clip_grad_norm_(model.parameters(), 1.0) if step == 5 else None",
    "a frozen parameter": "model[3].bias.requires_grad_(step != 5)",
    "a write by hand": "model[3].bias.data.mul_(0.5) if step == 5 else None",
    "a write under no_grad": "torch.no_grad()(model[3].bias.mul_)(0.5) if step == 5 else None",
    "another learning rate": "optimizer.param_groups[0].update(lr=0.1) if step == 5 else None",
    "another optimizer": "optimizer = torch.optim.SGD(model.parameters(), lr=0.1) if step == 5 else optimizer",
    "a parameter group": "optimizer.add_param_group({'params': [extra]}) if step == 5 else None",
    "inputs written to": "inputs.add_(1.0) if step == 5 else None",
    "inputs that want gradients": "inputs.requires_grad_(step == 5)",
    "new inputs": "inputs = torch.randn(5, 4)",
    "a view as input": "inputs = torch.randn(6, 4)[1:] if step > 4 else inputs",
    "a mode of the script's": "seen(model, inputs) if step == 5 else None",
    "a function in its place": "F.relu = swapped(F.relu, step)",
    "a setting that changes nodes": "divergence.log_target = step % 3 == 1; divergence(model(inputs), goal).backward()",
    "hooks on what is saved": "criterion = hooked(nn.CrossEntropyLoss(), step)",
    "a slow step": "time.sleep(0.35 if step == 5 else 0)",
    "a setting in turns": "model[2].p = 0.5 if step % 2 else 0.25; model[2].inplace = step in (3, 6)",
    "a result made a leaf": "inputs = torch.zeros_like(inputs); inputs.requires_grad_(step > 4)",
    "a result made a parameter": "kept.append(nn.Parameter(outputs.detach())) if step == 5 else None",
    "a tensor from before": "kept.append(outputs); kept[0].sum() if step > 2 else None",
    "a gradient read": "kept.append(model[0].weight.grad.norm()) if step == 5 else None",
    "a hook on a tensor": "model[0].weight.register_hook(lambda grad: grad * 2) if step == 5 else None",
    "the loss printed": "kept.append(loss.item())",
    "a module moved": "model.to(torch.float64); model.to(torch.float32)",
}
HELPERS = """
import time

extra = nn.Parameter(torch.ones(2))
divergence, goal = nn.KLDivLoss(reduction="sum"), torch.full((5, 3), 0.3)

def hooked(criterion, step):
    def call(outputs, labels):
        if step not in (4, 5):
            return criterion(outputs, labels)
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
            return criterion(model(inputs), labels)
    return call

def caught(call, *args):
    try:
        return call(*args)
    except (RuntimeError, ValueError, IndexError) as error:
        return type(error)

def swapped(function, step):
    original = getattr(function, "original", function)
    if step != 5:
        return original
    def relu(*args, **kwargs):
        return original(*args, **kwargs) * 1
    relu.original = original
    return relu

class Mode(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))

def seen(model, inputs):
    with Mode():
        model(inputs)
"""


# Calls of functions: on views, on labels that stay from step to step, with several results.
FUNCTIONS = """\
import torch
from torch.nn import functional as F

torch.manual_seed(0)
weight, bias = torch.nn.Parameter(torch.randn(3, 4)), torch.nn.Parameter(torch.zeros(3))
optimizer = torch.optim.SGD([weight, bias], lr=0.1)
inputs, labels = torch.randn(5, 2, 2), torch.randint(3, (5,))
other, kept = torch.randn(5, 2, 2), []
for step in range(8):
    optimizer.zero_grad()
    flat = inputs.view(5, -1)
    left, right = flat.t().chunk(2)
    outputs = F.linear(flat, weight, bias).unsqueeze(1)
    {change}
    loss = F.cross_entropy(outputs.flatten(1), labels) + left.max(0).values.sum() * 0
    loss.backward()
    optimizer.step()
    {after}
"""
FUNCTION_CHANGES = {
    "nothing": "pass",
    "a view of another": "flat = other.view(5, -1) if step == 5 else flat",
    "a copy instead of a view": "outputs = F.linear(flat.clone() if step == 5 else flat, weight, bias).view(5, 1, 3)",
    "what inference made": "seen = torch.inference_mode()(torch.ones)(2); seen * seen; (seen * 2).sum()",
    "a view of the weight": "outputs = F.linear(flat, weight.t().t(), bias).unsqueeze(1)",
    "a view written to": "other.view(-1)[:2].mul_(2) if step == 5 else other.view(-1)",
    "a view always written to": "seen = other.view(-1); seen[0] = step; seen.sum() + other.sum()",
    "a result's view written to": "outputs.view(-1)[:2].mul_(2) if step == 5 else None",
    "a view made a leaf": "flat.requires_grad_(step > 4)",
    "a view without gradients": "kept.append(torch.no_grad()(torch.Tensor.view)(outputs, -1)) if step == 5 else None",
    "a view detached": "outputs = outputs + outputs.detach().view(5, 1, 3) * (step // 5)",
    "a view that stays": "kept.append(flat) if step == 4 else None; kept and kept[0].sum()",
    "a view of what stays": "kept.append(other.view(-1)) if step == 4 else None; kept and kept[0].view(5, 2, 2).sum()",
    "the same tensor back": "outputs = outputs.contiguous()",
    "one result more": "left, right = flat.t().split((1, 3) if step == 5 else (2, 2))",
    "three results": "left, *right = flat.t().chunk(2 if step < 5 else 4)",
    "results in another order": "right, left = (flat.t().chunk(2) if step != 5 else flat.t().chunk(2)[::-1])",
    "results of sorting": "outputs = outputs.sort(-1, descending=step == 5)[0]",
    "results that are not used": "torch.topk(outputs, 2 if step < 5 else 1)",
    "several with gradients": "outputs = torch.cat(outputs.chunk(3, -1)[:: 1 if step < 5 else -1], -1)",
    "several, one written to": "outputs.split(1, -1)[0] if step != 5 else other.chunk(5)[2].mul_(2)",
}
FUNCTION_AFTER = {
    "inputs with other memory": "inputs.data = inputs.data.clone() if step == 5 else inputs.data",
    "new inputs": "inputs = torch.randn(5, 2, 2)",
    "inputs that want gradients": "inputs.requires_grad_(step == 5)",
    "labels written to": "labels[0] = 1 if step == 5 else labels[0]",
    "other labels": "labels = labels.clone() if step == 5 else labels",
    "labels of another shape": "inputs, labels = (inputs[:5], labels[:5]) if step == 5 else (inputs, labels)",
    "the weight with other memory": "weight.data = weight.data.clone() if step == 5 else weight.data",
    "a frozen weight": "weight.requires_grad_(step != 5)",
    "a second backward": "F.cross_entropy(F.linear(flat, weight), labels).backward() if step == 5 else None",
}


# A loop as most are written: batches, a device, statistics that a layer keeps, an evaluation after each epoch.
EPOCHS = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.norm, self.drop, self.fc2 = nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Dropout(0.2), nn.Linear(4, 3)
    def forward(self, x):
        x = self.drop(F.relu(self.norm(self.fc1(torch.flatten(x, 1)))))
        return F.log_softmax(self.fc2(x), dim=1)

device, model = torch.device("cpu"), Net()
optimizer = torch.optim.Adam(model.parameters())
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
loader = DataLoader(TensorDataset(torch.randn(24, 2, 3), torch.randint(3, (24,))), batch_size=4, shuffle=True)
total, right, kept = 0.0, 0, []
for epoch in range(3):
    model.train()
    for step, (x, y) in enumerate(loader):
        x, y = x.to(device), y.to(device)
        {change}
        optimizer.zero_grad()
        loss = F.nll_loss(model(x), y)
        loss.backward()
        optimizer.step()
        total += loss.item()
    model.eval()
    with torch.no_grad():
        for x, y in loader:
            right += (model(x.to(device)).argmax(1) == y).sum().item()
    {after}
"""
EPOCH_CHANGES = {
    "nothing": "pass",
    "a smaller batch": "x, y = (x[:3], y[:3]) if step == 4 else (x, y)",
    "a batch moved": "x = x.double().float() if step == 4 else x.to(torch.float32)",
    "a batch written to": "x.add_(1.0) if step == 4 else x.add_",
    "a batch always written to": "x.add_(1.0)",
    "a batch clipped in place": "x.clamp_(-1, 1) if step != 4 else x",
    "a buffer written to": "model.norm.running_mean.zero_() if step == 4 else None",
    "a buffer always written to": "model.norm.running_mean.mul_(0.9)",
    "a buffer by another name": "model.norm.running_var.view(-1).mul_(0.5 if step == 4 else 1.0)",
    "a weight written to": "model.fc1.weight.data.mul_(0.5) if step == 4 else None",
    "a weight always written to": "torch.no_grad()(model.fc1.weight.mul_)(0.99)",
    "a gradient written to": "model.fc1.weight.grad.mul_(0.5) if step == 4 else None",
    "a value read": "kept.append(x.sum().item()) if step == 4 else None",
    "an assertion": "assert x.isfinite().all()",
    "a list of values": "kept.append(x.flatten().tolist())",
    "statistics that freeze": "model.norm.eval() if step == 4 else None",
    "a skipped update": "optimizer.step = (lambda: None) if step == 4 else type(optimizer).step.__get__(optimizer)",
}
EPOCH_AFTER = {
    "a scheduler": "scheduler.step()",
    "another loader": "loader = DataLoader(loader.dataset, batch_size=4) if epoch == 1 else loader",
    "larger batches": "loader = DataLoader(loader.dataset, batch_size=6) if epoch == 1 else loader",
    "a checkpoint": "kept = {name: value.clone() for name, value in model.state_dict().items()}",
    "weights loaded": "model.load_state_dict(kept) if kept else kept.extend([]) or (kept := model.state_dict())",
}


def training(change: str = "pass", after: str = "pass") -> str:
    return MODEL.format(before=HELPERS, change=change, after=after)


LOOPS = {
    f"{loop}: {change}": text.format(**{"before": HELPERS, "change": "pass", "after": "pass", place: line})
    for loop, text, place, lines in (
        ("modules", MODEL, "change", CHANGES),
        ("modules", MODEL, "after", BETWEEN),
        ("functions", FUNCTIONS, "change", FUNCTION_CHANGES),
        ("functions", FUNCTIONS, "after", FUNCTION_AFTER),
        ("epochs", EPOCHS, "change", EPOCH_CHANGES),
        ("epochs", EPOCHS, "after", EPOCH_AFTER),
    )
    for change, line in lines.items()
}
