# A U-Net with skip connections, dice loss, one-cycle learning rates and early stopping on the best state.
import copy

import torch
import torch.nn.functional as F
from torch import nn


def double(inputs, outputs):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.GroupNorm(2, outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = double(1, 4), double(4, 8), double(8, 8)
        self.rise2, self.rise1 = nn.ConvTranspose2d(8, 8, 2, 2), nn.ConvTranspose2d(4, 4, 2, 2)
        self.up2, self.up1, self.out = double(16, 4), double(8, 4), nn.Conv2d(4, 1, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(F.max_pool2d(one, 2))
        three = self.bottom(F.max_pool2d(two, 2))
        x = self.up2(torch.cat([self.rise2(three), two], 1))
        return self.out(self.up1(torch.cat([self.rise1(x), one], 1)))


def dice(scores, target):
    chance = scores.sigmoid()
    return 1 - (2 * (chance * target).sum() + 1) / (chance.sum() + target.sum() + 1)


torch.manual_seed(211)
net = UNet()
images = torch.rand(8, 1, 8, 8)
masks = (images > 0.6).float()
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=8)
best, kept, waited = float("inf"), None, 0
for epoch in range(4):
    net.train()
    for part in (slice(0, 3), slice(3, 6)):
        optimizer.zero_grad()
        scores = net(images[part])
        loss = F.binary_cross_entropy_with_logits(scores, masks[part]) + dice(scores, masks[part])
        loss.backward()
        optimizer.step()
        schedule.step()
    net.eval()
    with torch.inference_mode():
        against = dice(net(images[6:]), masks[6:]).item()
    if against < best:
        best, kept, waited = against, copy.deepcopy(net.state_dict()), 0
    else:
        waited += 1
    print(epoch, f"{loss.item():.6f} {against:.6f}", waited)
net.load_state_dict(kept)
print(f"{best:.6f}")
