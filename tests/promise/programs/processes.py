# Other processes: spawned and forked ones that train, classes of __main__ that are pickled, a subprocess.
import multiprocessing
import pickle
import subprocess
import sys
from dataclasses import dataclass, field

import torch
import torch.multiprocessing as mp


@dataclass(order=True)
class Result:
    loss: float
    weights: list = field(default_factory=list, compare=False)


def train(seed, queue=None):
    torch.manual_seed(seed)
    w = torch.randn(3, requires_grad=True)
    for _ in range(3):
        loss = w.square().sum()
        w.grad = None
        loss.backward()
        with torch.no_grad():
            w.sub_(w.grad, alpha=0.1)
    result = Result(loss.item(), w.tolist())
    if queue is not None:
        queue.put((multiprocessing.current_process().name, __name__, result))
    return result


def share(rank, shared):
    shared[rank] += rank + 1


if __name__ == "__main__":
    best = train(0)
    for how in ("spawn", "fork"):
        context = multiprocessing.get_context(how)
        queue = context.SimpleQueue()
        process = context.Process(target=train, args=(1, queue), name=f"by {how}")
        process.start()
        print(queue.get())
        process.join()
        print(process.exitcode)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(min(pool.map(train, [2, 3])))
    shared = torch.zeros(2).share_memory_()
    mp.spawn(share, args=(shared,), nprocs=2)
    print(shared, pickle.loads(pickle.dumps(best)) == best, Result.__module__)
    done = subprocess.run(
        [sys.executable, "-c", "import torch; print(torch.ones(2).sum()); raise SystemExit(3)"],
        capture_output=True,
        text=True,
    )
    print(done, torch.rand(1))
