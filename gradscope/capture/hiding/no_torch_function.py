"""`Unseen` stands around whatever the recorder reads: no function mode and no subclass of the script's sees it."""

from __future__ import annotations

from .torch_private import DisableTorchFunction

Unseen = DisableTorchFunction
