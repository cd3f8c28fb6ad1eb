"""`python -m gradscope` is the `gradscope` command; started by its path this file is the same, see `cli.child`."""

import os
import sys


def _be_the_package() -> None:
    """Make `gradscope` the package that this file is in, whichever one the path would find."""
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120
    try:
        import gradscope  # noqa: F401
    finally:
        del sys.path[0]


if __name__ == "__main__":
    if not __package__:
        _be_the_package()
    from gradscope.cli.main import main

    sys.exit(main())
