# How a program ends: a caught Ctrl-C, groups of errors, handlers at exit, __del__, a status from sys.exit in finally.
import atexit
import builtins
import sys
import weakref

import torch


class Model(torch.nn.Linear):
    def __del__(self):
        print("model dies", self.weight.grad is not None)


class Logger:
    def __init__(self, name):
        self.name = name
        atexit.register(self.close)

    def close(self):
        print("closing", self.name, "torch" in sys.modules, torch.is_grad_enabled())


first, second = Logger("first"), Logger("second")
model = Model(2, 1)
weakref.finalize(first, print, "first is gone")
gone = weakref.ref(model.weight)
try:
    model(torch.ones(1, 2)).sum().backward()
    raise KeyboardInterrupt("asked to stop")
except KeyboardInterrupt as stop:
    print("saving", repr(stop))
group = getattr(builtins, "ExceptionGroup", None)
if group is not None:
    try:
        raise group("both", [ValueError(1), TypeError("two")])
    except group as errors:
        print(errors.split(TypeError))
del model
print("parameter is dead:", gone() is None)
try:
    try:
        torch.ones(2).view(3)
    except RuntimeError as error:
        error.add_note("while reshaping")
        raise LookupError("no such shape") from error
finally:
    print("finally")
    sys.stdout.flush()
