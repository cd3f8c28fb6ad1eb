# A small ResNet with Adam and StepLR, evaluation by top-k accuracy, and a checkpoint to resume from.
#
# Look at: each layer folds to one box (deeper with --depth 2), BatchNorm's running statistics move in training steps
# only, the learning rate falls where the scheduler steps, and the resumed run goes on exactly where the first
# one stopped.
#
#   gradscope graph demos/11_resnet.py --depth 1 -o resnet.svg

import tempfile
from pathlib import Path

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, channels_in, channels, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(x))


class ResNet(nn.Module):
    def __init__(self, classes=4):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.layer1 = nn.Sequential(Block(8, 8), Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 16, stride=2), Block(16, 16))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = self.layer2(self.layer1(self.stem(x)))
        return self.fc(self.pool(x).flatten(1))


def batches(count, seed):
    """Noisy images with a bright quarter; the label says which quarter it is."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(4, (16,), generator=generator)
        images = torch.randn(16, 1, 12, 12, generator=generator)
        for image, label in zip(images, labels.tolist(), strict=True):
            row, column = 6 * (label // 2), 6 * (label % 2)
            image[:, row : row + 6, column : column + 6] += 2
        yield images, labels


def setup(device):
    torch.manual_seed(0)
    model = ResNet().to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    return model, optimizer, scheduler


def train(model, optimizer, scheduler, epoch, device):
    criterion = nn.CrossEntropyLoss()
    model.train()
    for images, target in batches(8, seed=epoch):
        images, target = images.to(device), target.to(device)
        loss = criterion(model(images), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    scheduler.step()
    print(f"epoch {epoch}: loss {loss.item():.4f}  next lr {scheduler.get_last_lr()[0]:.4f}")
    return loss.item()


def evaluate(model, device):
    model.eval()
    hits1 = hits2 = seen = 0
    with torch.no_grad():
        for images, target in batches(2, seed=100):
            images, target = images.to(device), target.to(device)
            _, predicted = model(images).topk(2, 1)
            correct = predicted.eq(target[:, None])
            hits1 += correct[:, :1].sum().item()
            hits2 += correct.sum().item()
            seen += len(target)
    print(f"top-1 {hits1 / seen:.2f}  top-2 {hits2 / seen:.2f}")


def main():
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    model, optimizer, scheduler = setup(device)
    train(model, optimizer, scheduler, 0, device)

    with tempfile.TemporaryDirectory() as folder:
        checkpoint = Path(folder) / "checkpoint.tar"
        torch.save(
            {
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
                "epoch": 0,
            },
            checkpoint,
        )
        straight_on = train(model, optimizer, scheduler, 1, device)

        model, optimizer, scheduler = setup(device)
        saved = torch.load(checkpoint, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    scheduler.load_state_dict(saved["scheduler"])
    resumed = train(model, optimizer, scheduler, saved["epoch"] + 1, device)
    print("resumed run equals the run that went straight on:", resumed == straight_on)
    evaluate(model, device)


if __name__ == "__main__":
    main()
