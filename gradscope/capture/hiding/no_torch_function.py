"""`Unseen` stands around whatever the recorder reads: no function mode and no subclass of the script's sees it."""

from __future__ import annotations

import torch

Unseen = torch._C.DisableTorchFunction
