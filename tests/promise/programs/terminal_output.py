# Output of all kinds: progress bars that go back, bytes, unbuffered writes, input asked for, stderr in between.
import os
import sys
import time

import torch

print("name? ", end="")
name = input()
print(f"hello {name}, {sys.stdin.readline()!r}, {len(sys.stdin.read())}")
w = torch.ones(3, requires_grad=True)
for step in range(20):
    (w.sin().sum() * step).backward()
    filled = "█" * (step // 2)
    sys.stderr.write(f"\r{step + 1:3d}/20 |{filled:<10}| grad={w.grad.sum().item():.3f}")
    sys.stderr.flush()
sys.stderr.write("\n")
sys.stdout.flush()
sys.stdout.buffer.write(b"\x00\xff raw \n")
sys.stdout.buffer.flush()
os.write(1, b"past the buffer\n")
print("ünïcode → ok", file=sys.stderr)
print("no end", end="", flush=True)
print(time.strftime("%Y") >= "2024", sys.stdout.isatty(), sys.stdout.encoding, os.get_terminal_size.__name__)
print("left in the buffer", end="")
