# Complex parameters: a Fourier layer, views of real and imaginary parts, conjugates that are lazy, gradcheck.
import torch
from torch import nn

torch.manual_seed(201)


class Spectral(nn.Module):
    def __init__(self, modes=4):
        super().__init__()
        self.modes = modes
        self.weight = nn.Parameter(torch.randn(modes, dtype=torch.cfloat) * 0.3)

    def forward(self, x):
        spectrum = torch.fft.rfft(x)
        out = torch.zeros_like(spectrum)
        out[:, : self.modes] = spectrum[:, : self.modes] * self.weight
        return torch.fft.irfft(out, n=x.shape[-1])


layer = Spectral()
optimizer = torch.optim.Adam(layer.parameters(), lr=1e-2)
signal = torch.randn(3, 16)
for step in range(4):
    optimizer.zero_grad()
    loss = (layer(signal) - signal.roll(1, 1)).abs().mean()
    loss.backward()
    optimizer.step()
    print(step, loss.item(), layer.weight.grad)
z = torch.tensor([1 + 2j, 3 - 1j], requires_grad=True)
lazy = z.conj()
(lazy.real.pow(2) + torch.view_as_real(z * 1j)[:, 0].exp()).sum().backward()
print(lazy.is_conj(), z.grad, torch.view_as_complex(torch.ones(2, 2)), z.angle(), lazy.imag.is_neg())
print(torch.autograd.gradcheck(lambda v: v.abs().log(), torch.randn(3, dtype=torch.cdouble, requires_grad=True)))
