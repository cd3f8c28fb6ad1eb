# An image is what is trained: features taken by forward hooks, Gram matrices, L-BFGS on one leaf.
import torch
import torch.nn.functional as F
from torch import nn

torch.manual_seed(41)
features = (
    nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.ReLU(inplace=False),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3),
    )
    .eval()
    .requires_grad_(False)
)
taken = {}
handles = [
    features[number].register_forward_hook(lambda module, given, out, number=number: taken.__setitem__(number, out))
    for number in (0, 2, 5)
]


def gram(x):
    flat = x.flatten(2)
    return flat @ flat.mT / flat.numel()


content, style = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 12, 12)
features(content)
wanted = taken[5].detach()
features(style)
wanted_grams = {number: gram(taken[number]).detach() for number in (0, 2)}
image = content.clone().requires_grad_()
optimizer = torch.optim.LBFGS([image], max_iter=4)
runs = [0]
while runs[0] < 8:

    def closure():
        with torch.no_grad():
            image.clamp_(0, 1)
        optimizer.zero_grad()
        features(image)
        loss = F.mse_loss(taken[5], wanted) + 1e3 * sum(F.mse_loss(gram(taken[n]), g) for n, g in wanted_grams.items())
        loss.backward()
        runs[0] += 1
        print(runs, f"{loss.item():.6f}")
        return loss

    optimizer.step(closure)
for handle in handles:
    handle.remove()
print(image._version, [handle.id for handle in handles], len(features[0]._forward_hooks))
