"""`gradscope`, the program. It imports nothing before `begin` has made the module path gradscope's own."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: "Sequence[str] | None" = None) -> int:
    """Run one command, by default the program's own; returns its exit status. Raises what `boundary.run` raises."""
    if arguments is None:
        from ..capture.run.module_path import begin

        begin()
    from .boundary import run

    return run(arguments)
