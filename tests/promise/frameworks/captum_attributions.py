# Attributions by Captum: integrated gradients, saliency, Grad-CAM and DeepLift, which set hooks of their own.
import warnings

import torch
from captum.attr import DeepLift, IntegratedGradients, LayerGradCam, NoiseTunnel, Saliency

warnings.filterwarnings("ignore")
torch.manual_seed(0)
net = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 3)).eval()
x = torch.rand(2, 1, 6, 6)
for method in (IntegratedGradients(net), Saliency(net), DeepLift(net), LayerGradCam(net, net[0])):
    print(type(method).__name__, method.attribute(x, target=1).abs().sum().item())
print(NoiseTunnel(Saliency(net)).attribute(x, nt_samples=2, stdevs=0.1, target=0).sum().item())
print(IntegratedGradients(net).attribute(x, target=0, n_steps=4, return_convergence_delta=True)[1])
