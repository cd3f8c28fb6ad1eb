"""Room on the stack for torch to free deep graphs."""

from __future__ import annotations

try:
    import resource
except ImportError:  # not on Windows, whose stacks do not grow
    resource = None  # type: ignore[assignment]

DEEP = 5_000
_STACK_PER_NODE = 1024  # bytes, about twice what was measured


def room_to_free(nodes: int) -> None:
    """Let the stack grow enough to free a deep graph.

    torch frees the nodes of a chain one by one, but recursively where a Python wrapper was made of them
    (measured with 2.13): a chain of 50,000 would overflow the usual stack of 8 MB.
    """
    if nodes < DEEP or resource is None:
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = (8 << 20) + nodes * _STACK_PER_NODE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_STACK, (max(soft, allowed), hard))
