"""Which devices torch can use on this machine."""

from __future__ import annotations

import torch


def devices() -> list[str]:
    """A name for each: `cpu`, `cuda:0 NVIDIA H200`."""
    found = ["cpu"]
    for kind in ("cuda", "xpu", "mps"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            count = module.device_count() if hasattr(module, "device_count") else 1
            name = getattr(module, "get_device_name", lambda index: "")  # noqa: ARG005  # mps devices have none
            found += [f"{kind}:{index} {name(index)}".strip() for index in range(count)]
    return found


def version() -> str:
    return str(torch.__version__)
