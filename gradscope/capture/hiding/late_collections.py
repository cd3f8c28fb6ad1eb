"""While a step is watched, Python's cyclic garbage collector looks at its youngest objects only.

What a watched step leaves is told in many small tuples. The collector counts them, and for their sake would look
through every module and tensor that lives, again and again, which takes longer than the watching does. So its two
older generations wait until the step is over and the tuples are gone; then what was due is done. The script sees and
sets its own thresholds meanwhile.
"""

from __future__ import annotations

import gc

from .patch_set import HookSet

_FAR = 1 << 30  # collections of the youngest generation: never
_MIDDLE = 1  # a generation; the oldest one is looked through when enough has outlived this one
_get, _set = gc.get_threshold, gc.set_threshold

_own: tuple[int, ...] | None = None  # the script's thresholds, while the collector waits


def wait() -> None:
    """A step is watched."""
    global _own
    if _own is None:
        _own = _get()
        _set(_own[0], _FAR, *_own[2:])


def let_go() -> None:
    """The thresholds are the script's again."""
    global _own
    if _own is not None:
        own, _own = _own, None
        _set(*own)


def catch_up() -> None:
    """What a watched step left is gone, or it has been watched for long: what is due by now is collected."""
    if _own is not None and _own[0] and gc.isenabled() and gc.get_count()[_MIDDLE] > _own[_MIDDLE]:
        gc.collect(_MIDDLE)


def install(hooks: HookSet) -> None:
    """Until `hooks` are closed, the script's calls are about its own thresholds."""

    def get_threshold() -> tuple[int, ...]:
        return _get() if _own is None else _own

    def set_threshold(*thresholds: int) -> None:
        global _own
        _set(*thresholds)  # which judges them
        if _own is not None:
            _own = None
            wait()

    get_threshold.__doc__, set_threshold.__doc__ = _get.__doc__, _set.__doc__
    hooks.patch(gc, "get_threshold", get_threshold)
    hooks.patch(gc, "set_threshold", set_threshold)
    hooks.add(let_go)
