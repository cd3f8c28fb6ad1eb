# Mixed precision on the CPU: autocast to bfloat16, a scaler that is switched off, nested regions.
import torch
from torch import nn

torch.manual_seed(61)
model = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scaler = torch.amp.GradScaler("cpu", init_scale=128.0, growth_interval=2)
for step in range(5):
    x, y = torch.randn(12, 8), torch.randint(0, 4, (12,))
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = model(x)
        with torch.autocast("cpu", enabled=False):
            loss = nn.functional.cross_entropy(out.float(), y)
    if step == 3:
        loss = loss * float("inf")
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    norm = nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    scaler.step(optimizer)
    scaler.update()
    print(step, out.dtype, f"{loss.item():.6f}", norm, scaler.get_scale(), torch.is_autocast_enabled("cpu"))
print(scaler.state_dict())
