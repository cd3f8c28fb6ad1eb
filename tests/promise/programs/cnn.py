# A small convolutional classifier: training and test loops, a scheduler, a saved and a loaded state.
import io

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 8, 3, padding=1)
        self.norm, self.drop = nn.BatchNorm2d(8), nn.Dropout2d(0.25)
        self.head = nn.Linear(8 * 3 * 3, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(self.drop(self.norm(self.conv2(x)).relu()), 2)
        return F.log_softmax(self.head(x.flatten(1)), dim=1)


torch.manual_seed(1)
digits = TensorDataset(torch.rand(96, 1, 16, 16), torch.randint(0, 10, (96,)))
train_set, test_set = random_split(digits, [72, 24])
net = Net()
optimizer = torch.optim.Adadelta(net.parameters(), lr=1.0)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
for epoch in range(1, 3):
    net.train()
    for number, (images, labels) in enumerate(DataLoader(train_set, batch_size=24, shuffle=True)):
        optimizer.zero_grad()
        loss = F.nll_loss(net(images), labels)
        loss.backward()
        optimizer.step()
        print(f"epoch {epoch} batch {number} loss {loss.item():.6f}")
    net.eval()
    right = 0
    with torch.no_grad():
        for images, labels in DataLoader(test_set, batch_size=12):
            right += (net(images).argmax(1) == labels).sum().item()
    scheduler.step()
    print(f"test {right}/{len(test_set)}, lr {scheduler.get_last_lr()}")
file = io.BytesIO()
torch.save(net.state_dict(), file)
file.seek(0)
again = Net()
print(again.load_state_dict(torch.load(file)))
