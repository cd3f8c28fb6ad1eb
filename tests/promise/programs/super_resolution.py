# Sub-pixel convolution, a list of transforms, and a model saved whole and loaded again.
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.convs = nn.ModuleList(
            [nn.Conv2d(1, 8, 5, padding=2), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, factor**2, 3, padding=1)]
        )
        self.shuffle = nn.PixelShuffle(factor)
        for conv in self.convs[:-1]:
            nn.init.orthogonal_(conv.weight, nn.init.calculate_gain("relu"))

    def forward(self, x):
        for conv in self.convs[:-1]:
            x = conv(x).relu_()
        return self.shuffle(self.convs[-1](x))


torch.manual_seed(123)
net = Net(3)
optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
large = torch.rand(12, 1, 12, 12)
small = nn.functional.interpolate(large, scale_factor=1 / 3, mode="bicubic", align_corners=False, antialias=True)
for epoch in range(2):
    for number in range(0, 12, 4):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(small[number : number + 4]), large[number : number + 4])
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        print(f"epoch {epoch}: {-10 * torch.log10(nn.functional.mse_loss(net(small), large)):.5f} dB")
torch.save(net, f"model_epoch_{epoch}.pth")
loaded = torch.load("model_epoch_1.pth", weights_only=False)
print(type(loaded) is Net, torch.equal(loaded(small), net(small)))
