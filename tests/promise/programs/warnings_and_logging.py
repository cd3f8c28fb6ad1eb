# Warnings, logs and frames: what a program says about itself names the same files, lines and functions.
import inspect
import logging
import sys
import traceback
import warnings

import torch
from torch import nn

logging.basicConfig(
    level=logging.INFO, format="%(levelname)s %(name)s %(filename)s:%(lineno)d %(funcName)s %(message)s"
)
log = logging.getLogger("training")


def deprecated(level):
    warnings.warn(f"old, told at {level}", FutureWarning, stacklevel=level)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x):
        deprecated(2)
        deprecated(3)
        log.info("in forward, stack level 2", stacklevel=2)
        print([frame.function for frame in inspect.stack()])
        return self.layer(x)


torch.manual_seed(0)
net = Net()
out = net(torch.ones(1, 2))
print(out.grad)
nn.Softmax()(out)
nn.functional.mse_loss(out, torch.ones(1))
warnings.warn("own", UserWarning)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for _ in range(2):
        out.grad
        deprecated(1)
    torch.optim.lr_scheduler.StepLR(torch.optim.SGD(net.parameters(), lr=1), 1).step()
print([(warning.category.__name__, warning.lineno, warning.filename == __file__) for warning in caught])


def hook(grad):
    log.warning("in a hook")
    traceback.print_stack()
    return grad


out.register_hook(hook)
out.sum().backward(retain_graph=True)
try:
    net(torch.ones(1, 3))
except RuntimeError:
    log.exception("wrong shape")
    print(len(traceback.extract_tb(sys.exc_info()[2])), traceback.format_exc().count("File"))
print(sys._getframe().f_code.co_name)
