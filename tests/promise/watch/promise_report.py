"""What a process is like at its end, as a flat table of texts in a file. Imported when all else has run.

One file a process, named by its number. Imports of the script's own are not used before they are counted.
"""

import os
import sys

SEEN = {name: getattr(module, "__file__", None) for name, module in list(sys.modules.items())}

import gc  # noqa: E402
import json  # noqa: E402

import promise_process  # noqa: E402
import promise_values  # noqa: E402

Table = dict[str, dict[str, object]]


def write(folder: str) -> None:
    """Everything that may change by being looked at comes last."""
    table: Table = {"modules": dict(SEEN), "process": promise_process.facts(), "memory": promise_process.memory()}
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "Tensor"):
        import promise_torch

        table["torch"] = promise_torch.facts()
        for _ in range(5):  # what a finalizer makes is garbage of the next round
            if not gc.collect():
                break
        table["alive"] = promise_torch.alive()
    table["main"] = promise_values.walk(vars(sys.modules["__main__"]))
    table["patches"] = promise_process.patches(SEEN)
    path = os.path.join(folder, str(os.getpid()))
    with open(f"{path}.part", "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(table, file, default=repr)
    os.replace(f"{path}.part", f"{path}.json")  # a process may be killed at any moment
