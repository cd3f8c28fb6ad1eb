# Training for eight bits: observers, fake quantization by hand and torch's own, dynamic quantization at the end.
import copy
import warnings

import torch
from torch import nn

warnings.simplefilter("ignore", DeprecationWarning)
warnings.simplefilter("ignore", UserWarning)
torch.manual_seed(141)


class Quantized(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.register_buffer("low", torch.tensor(0.0))
        self.register_buffer("high", torch.tensor(0.0))

    def forward(self, x):
        if self.training:
            self.low.copy_(torch.minimum(self.low, x.detach().min()))
            self.high.copy_(torch.maximum(self.high, x.detach().max()))
        scale = (self.high - self.low).clamp(min=1e-6) / 255
        x = torch.fake_quantize_per_tensor_affine(x, scale.item(), int((-self.low / scale).round()), 0, 255)
        weight = self.layer.weight
        step = weight.detach().abs().amax(1, keepdim=True) / 127
        rounded = weight + ((weight / step).round() * step - weight).detach()
        return nn.functional.linear(x, rounded, self.layer.bias)


model = nn.Sequential(Quantized(nn.Linear(4, 8)), nn.ReLU(), Quantized(nn.Linear(8, 2)))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
for step in range(4):
    optimizer.zero_grad()
    loss = model(torch.randn(6, 4)).square().mean()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), model[0].low, model[0].high, model[0].low._version)
floating = copy.deepcopy(nn.Sequential(model[0].layer, nn.ReLU(), model[2].layer)).eval()
small = torch.ao.quantization.quantize_dynamic(floating, {nn.Linear}, dtype=torch.qint8)
print(small, small(torch.ones(1, 4)), torch.quantize_per_tensor(torch.arange(3.0), 0.1, 0, torch.quint8), sep="\n")
