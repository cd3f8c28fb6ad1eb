# Worker processes that load data: seeds of their own, an iterable dataset that is shared out, errors that come back.
import random

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler, get_worker_info


class Squares(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index == 11:
            raise ValueError("the eleventh is missing")
        return {"x": torch.full((2,), float(index)), "noise": torch.rand(1), "chance": random.random()}


class Stream(IterableDataset):
    def __iter__(self):
        worker = get_worker_info()
        return iter(range(worker.id, 9, worker.num_workers))


def start(worker):
    random.seed(torch.initial_seed() % 2**32)


if __name__ == "__main__":
    torch.manual_seed(121)
    w = torch.ones(2, requires_grad=True)
    draw = torch.Generator().manual_seed(3)
    loader = DataLoader(
        torch.utils.data.Subset(Squares(), range(11)),
        3,
        num_workers=2,
        worker_init_fn=start,
        shuffle=True,
        generator=draw,
        persistent_workers=True,
    )
    for epoch in range(2):
        for batch in loader:
            loss = ((batch["x"] * w).sum(1) + batch["noise"].squeeze(1)).mean()
            loss.backward()
            print(epoch, loss.item(), batch["chance"])
    print(w.grad, sorted(int(value) for batch in DataLoader(Stream(), 2, num_workers=2) for value in batch))
    sampler = WeightedRandomSampler([0.1, 0.2, 0.7], 5)
    print([b.tolist() for b in DataLoader([1, 2, 3], 2, sampler=sampler, collate_fn=torch.tensor, drop_last=True)])
    try:
        list(DataLoader(Squares(), 6, num_workers=1))
    except ValueError as error:
        print(str(error).splitlines()[0], str(error).splitlines()[-1])
    del loader
