# A script with arguments: argparse's help and errors, folders made, results in JSON and CSV, a folder changed.
import argparse
import csv
import json
import os
import sys
from pathlib import Path

import torch

parser = argparse.ArgumentParser(description="Fit a line.")
parser.add_argument("--lr", type=float, default=0.1, help="learning rate (default: %(default)s)")
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("-o", "--output", type=Path, required=True)
parser.add_argument("rest", nargs="*")
print(sys.argv)
parser.print_help()
options = parser.parse_args()
print(options)
options.output.mkdir(parents=True)
w = torch.zeros(1, requires_grad=True)
rows = []
for epoch in range(options.epochs):
    loss = (w - 3).pow(2).sum()
    loss.backward()
    with torch.no_grad():
        w -= options.lr * w.grad
    w.grad.zero_()
    rows.append({"epoch": epoch, "loss": loss.item()})
(options.output / "options.json").write_text(json.dumps({**vars(options), "output": str(options.output)}, indent=1))
os.chdir(options.output)
with open("losses.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows(rows)
torch.save({"w": w, "rows": rows}, "last.pt")
print(Path.cwd().name, sorted(os.listdir()), os.path.basename(__file__))
parser.error("that was all")
