"""Which process of a job this is, where a launcher (torchrun, accelerate, mpirun, srun) started several."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

_LAUNCHERS = (  # the variables that tell the rank and the world size; the innermost launcher first
    ("RANK", "WORLD_SIZE"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("SLURM_PROCID", "SLURM_NTASKS"),
)


@dataclass(frozen=True, slots=True)
class Rank:
    """One of the `world_size` processes of a job; `restarts` is how often torchrun began it anew."""

    number: int
    world_size: int
    restarts: int = 0

    @property
    def label(self) -> str:
        """`rank03` of 16: names of files sort by it."""
        return f"rank{self.number:0{len(str(self.world_size - 1))}}"


def own_rank(environment: Mapping[str, str] = os.environ) -> Rank | None:
    """What the launcher says of this process; None where it is the only one."""
    for rank, world_size in _LAUNCHERS:
        number, size = _whole(environment.get(rank)), _whole(environment.get(world_size))
        if number is not None and size is not None:
            restarts = _whole(environment.get("TORCHELASTIC_RESTART_COUNT")) or 0
            return Rank(number, size, restarts) if number < size > 1 else None
    return None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else None
