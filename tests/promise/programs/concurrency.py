# asyncio, threads and an executor in one program: losses that come from several loops, thread-local grad modes.
import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import torch

torch.manual_seed(0)
w = torch.ones(2, requires_grad=True)
opt = torch.optim.SGD([w], lr=0.1)
results = {}


async def train(name, count):
    for _ in range(count):
        opt.zero_grad()
        (w * len(name)).pow(2).sum().backward()
        opt.step()
        await asyncio.sleep(0)
    return name, w.tolist()


async def both():
    return await asyncio.gather(train("a", 3), train("bb", 2), return_exceptions=True)


def work(number):
    with torch.no_grad():
        inside = torch.is_grad_enabled()
    leaf = torch.full((2,), float(number), requires_grad=True)
    (leaf**2).sum().backward()
    results[number] = (inside, torch.is_grad_enabled(), leaf.grad.tolist())


print(asyncio.run(both()))
with torch.no_grad():
    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(sorted(results.items()), threading.active_count())
with ThreadPoolExecutor(2) as pool:
    print(list(pool.map(lambda number: (torch.ones(2) * number).sum().item(), range(4))))
late = threading.Thread(target=lambda: print("still there", w.grad is not None))
late.start()
late.join()
