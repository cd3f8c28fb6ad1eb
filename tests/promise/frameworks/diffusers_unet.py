# A tiny UNet of diffusers: noise added by a scheduler, a few steps, an average of the weights, sampling.
import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel

torch.manual_seed(0)
net = UNet2DModel(
    sample_size=8,
    in_channels=1,
    out_channels=1,
    layers_per_block=1,
    block_out_channels=(8, 8),
    norm_num_groups=2,
    down_block_types=("DownBlock2D", "AttnDownBlock2D"),
    up_block_types=("AttnUpBlock2D", "UpBlock2D"),
    attention_head_dim=4,
)
scheduler = DDPMScheduler(num_train_timesteps=10)
average = EMAModel(net.parameters(), decay=0.9)
optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3)
for step in range(3):
    clean = torch.randn(2, 1, 8, 8)
    noise, times = torch.randn_like(clean), torch.randint(0, 10, (2,))
    predicted = net(scheduler.add_noise(clean, noise, times), times).sample
    loss = torch.nn.functional.mse_loss(predicted, noise)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    average.step(net.parameters())
    print(step, f"{loss.item():.6f}")
scheduler.set_timesteps(2)
sample = torch.randn(1, 1, 8, 8)
with torch.no_grad():
    for time in scheduler.timesteps:
        sample = scheduler.step(net(sample, time).sample, time, sample).prev_sample
print(sample.abs().mean().item())
