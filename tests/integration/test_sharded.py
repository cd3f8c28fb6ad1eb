"""FSDP frees the memory of gathered parameters behind their back: a run with it ends as it would without recording."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradscope.store.reader import open_trace

SCRIPT = """
import sys
import tempfile
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

with tempfile.TemporaryDirectory() as folder:
    dist.init_process_group("gloo", rank=0, world_size=1, store=dist.FileStore(folder + "/store", 1))
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
    mesh = init_device_mesh("cpu", (1,))
    fully_shard(model[0], mesh=mesh)
    fully_shard(model, mesh=mesh)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for i in range(3):
        optimizer.zero_grad()
        loss = model(torch.randn(8, 8)).pow(2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(losses, [p.full_tensor().sum().item() for p in model.parameters()])
    dist.destroy_process_group()
"""


def run(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, timeout=120, env=env)


@pytest.mark.skipif(not torch.distributed.is_available(), reason="this build of torch has no torch.distributed")
@pytest.mark.parametrize("detail", ["auto", "graph", "full"])
def test_a_sharded_model_trains_as_it_would_without(tmp_path: Path, detail: str) -> None:
    script, trace = tmp_path / "sharded.py", tmp_path / "sharded.gradscope"
    script.write_text(SCRIPT)
    plain = run([str(script)])
    recorded = run(["-m", "gradscope", "trace", "--detail", detail, "-o", str(trace), str(script)])
    assert (plain.returncode, recorded.returncode) == (0, 0), recorded.stderr
    assert recorded.stdout == plain.stdout
    with open_trace(trace) as read:
        assert read.info.faults == ()
        losses = [row.loss for row in read.source.step_rows() if row.loss is not None]
    assert losses == pytest.approx(eval(plain.stdout.split("]")[0] + "]"), rel=1e-6)
