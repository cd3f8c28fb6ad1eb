"""Runs at the interpreter's start, plain and traced.

Makes what the system would seed by chance the same in each process, and tells at the very end what the process is
like: what is registered first runs last, after all that the script registered.
"""

import atexit
import os
import sys


class _Seeding:
    """A finder that finds what the others find. An executed module is seeded, and all this is gone."""

    def __init__(self, name, seed):
        self.name, self.seed = name, seed

    def find_spec(self, name, path=None, target=None):
        if name != self.name:
            return None
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def done(self, module):
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            self.seed(module)


class _Loader:
    def __init__(self, loader, seeding):
        self.loader, self.seeding = loader, seeding

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self.loader
        self.loader.exec_module(module)
        self.seeding.done(module)


def _seed_all(torch):
    """Python's own once more: a state that nobody has seeded may have been drawn from before the script began."""
    torch.default_generator.manual_seed(0)
    if "random" in sys.modules:
        sys.modules["random"].seed(0)


def _tell():
    import promise_report

    promise_report.write(_FOLDER)


_FOLDER = os.environ.get("PROMISE_REPORTS")  # the program may clear its environment
if _FOLDER:
    sys.meta_path[:0] = [
        _Seeding("random", lambda module: module.seed(0)),
        _Seeding("torch", _seed_all),
        _Seeding("numpy.random", lambda module: module.seed(0)),
    ]
    atexit.register(_tell)
