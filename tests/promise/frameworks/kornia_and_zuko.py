# Image transforms with gradients by kornia, and a normalizing flow by zuko.
import kornia
import torch
import zuko

torch.manual_seed(0)
angle = torch.tensor([5.0], requires_grad=True)
image, goal = torch.rand(1, 1, 8, 8), torch.rand(1, 1, 8, 8)
optimizer = torch.optim.Adam([angle], lr=0.5)
for step in range(3):
    turned = kornia.geometry.transform.rotate(image, angle)
    loss = (kornia.filters.gaussian_blur2d(turned, (3, 3), (1.0, 1.0)) - goal).abs().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}", f"{angle.item():.6f}")
flow = zuko.flows.NSF(2, transforms=2, hidden_features=(8,))
optimizer = torch.optim.Adam(flow.parameters(), lr=1e-2)
for step in range(3):
    loss = -flow().log_prob(torch.randn(16, 2)).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(step, f"{loss.item():.6f}")
print(flow().sample((2,)))
