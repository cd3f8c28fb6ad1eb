"""The node that adds up a leaf's gradient, for a leaf that is itself the root of a backward."""

from __future__ import annotations

import _thread
from typing import Any

import torch

from ..hiding.no_torch_function import Unseen


def accumulator_of(leaf: torch.Tensor) -> Any:
    """The leaf's AccumulateGrad node; None where it has none that can be found.

    Torch finds it by a view, which is an op: it takes a sequence number and passes all modes. Both belong to a
    thread, so it is made in one of its own.
    """
    found: list[Any] = []
    done = _thread.allocate_lock()
    done.acquire()

    def find() -> None:
        try:
            with Unseen():
                view: Any = leaf.view_as(leaf)
                found.append(view.grad_fn.next_functions[0][0])
        except Exception:  # a foreign class may refuse anything; its node is then not known
            found.append(None)
        finally:
            done.release()

    try:
        _thread.start_new_thread(find, ())
    except RuntimeError:
        return None  # no more threads are allowed
    done.acquire()
    return found[0]
