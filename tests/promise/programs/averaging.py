# Weights averaged over steps: SWA with its scheduler and batch norm update, EMA by get_ema_multi_avg_fn, deepcopy.
import torch
from torch import nn
from torch.optim.swa_utils import SWALR, AveragedModel, get_ema_multi_avg_fn, update_bn

torch.manual_seed(81)
model = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
swa, ema = AveragedModel(model), AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)
flat = SWALR(optimizer, swa_lr=0.05, anneal_epochs=2)
batches = [(torch.randn(8, 5), torch.randn(8, 1)) for _ in range(3)]
for epoch in range(6):
    for x, y in batches:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        ema.update_parameters(model)
    if epoch > 2:
        swa.update_parameters(model)
        flat.step()
    else:
        cosine.step()
    print(epoch, f"{loss.item():.6f}", optimizer.param_groups[0]["lr"])
update_bn(batches, swa)
print(swa.n_averaged, swa.module[1].running_mean, ema.module[0].weight.norm())
