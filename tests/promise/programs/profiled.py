# The profiler around a step, a schedule with a callback, a record_function of one's own; anomaly mode, a seen error.
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function, schedule

torch.manual_seed(171)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
ready = []


def step():
    with record_function("forward_by_hand"):
        loss = net(torch.randn(3, 4)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


print(step())
with profile(
    activities=[ProfilerActivity.CPU],
    schedule=schedule(wait=1, warmup=1, active=1),
    on_trace_ready=lambda p: ready.append(p.step_num),
) as profiler:
    for _ in range(4):
        print(step())
        profiler.step()
names = {event.key for event in profiler.key_averages()}
print(ready, sorted(name for name in names if name in ("forward_by_hand", "aten::addmm", "aten::mm", "aten::relu")))
with torch.autograd.set_detect_anomaly(True):
    x = torch.tensor([-1.0], requires_grad=True)
    try:
        (x.sqrt() * 2).backward()
    except RuntimeError as error:
        print(error)
del profiler  # it has a number that no two runs share
