# A whole classifier: Dataset, DataLoader, model, loss, optimizer, training and validation.
#
# Look at: training steps and evaluation steps are told apart (validation runs under eval() and no_grad, so it
# has no graph), every batch is one step, and equal steps are stored once.
#
#   gradscope trace demos/10_classifier.py && gradscope info 10_classifier.gradscope

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Clusters(Dataset):
    """Points around three centres; the label is the centre."""

    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.y = torch.randint(3, (size,), generator=generator)
        centres = torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]])
        self.x = centres[self.y] + torch.randn(size, 3, generator=generator)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Classifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(3, 32)
        self.fc2 = nn.Linear(32, 32)
        self.fc3 = nn.Linear(32, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


def train(model, loader, loss_fn, optimizer):
    model.train()
    running = 0.0
    for inputs, labels in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = loss_fn(outputs, labels)
        loss.backward()
        optimizer.step()
        running += loss.item()
    return running / len(loader)


def validate(model, loader, loss_fn):
    model.eval()
    total, correct = 0.0, 0
    with torch.no_grad():
        for inputs, labels in loader:
            outputs = model(inputs)
            total += loss_fn(outputs, labels).item()
            correct += (outputs.argmax(1) == labels).sum().item()
    return total / len(loader), correct / len(loader.dataset)


def main():
    torch.manual_seed(0)
    training = DataLoader(Clusters(256, seed=1), batch_size=64, shuffle=True)
    validation = DataLoader(Clusters(128, seed=2), batch_size=64)
    model = Classifier()
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for epoch in range(5):
        train_loss = train(model, training, loss_fn, optimizer)
        loss, accuracy = validate(model, validation, loss_fn)
        print(f"epoch {epoch}: train {train_loss:.3f}  validation {loss:.3f}  accuracy {accuracy:.2f}")


if __name__ == "__main__":
    main()
