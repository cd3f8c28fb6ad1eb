"""Torch's private names that capture needs: what each is, where it was seen, and what happens where it is missing.

*Needed* means that nothing can be recorded without it: the import of this module fails, or the installation of a hook,
`gradscope trace` says in one line that the recording could not start, and the script runs as it is. All were seen in
torch 2.13, with which each change is tested; `pyproject.toml` lets in others, of which nothing is claimed here.

Hot paths bind these names when they are imported, so an alias costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import torch
from torch.nn.modules import module as module_file
from torch.nn.modules.loss import _Loss
from torch.nn.parameter import UninitializedTensorMixin  # type: ignore[attr-defined]
from torch.overrides import _get_current_function_mode_stack, _pop_mode, _push_mode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data.dataloader import _BaseDataLoaderIter

_C: Any = torch._C

# -- function modes: they see calls of torch's Python surface ----------------------------------------

# Block in which no function mode and no `__torch_function__` sees a call. Seen in 2.13; needed.
DisableTorchFunction = torch._C.DisableTorchFunction
# How many function modes are on. Seen in 2.13; needed.
function_modes: Callable[[], int] = _C._len_torch_function_stack
# The one at a place, counted from the outermost. Seen in 2.13; needed.
function_mode_at: Callable[[int], Any] = _C._get_function_stack_at
# All of them. Seen in 2.13; needed.
all_function_modes: Callable[[], list[Any]] = _get_current_function_mode_stack
# Take the innermost away, put one on. Seen in 2.13; needed.
pop_function_mode: Callable[[], Any] = _C._pop_torch_function_stack
push_function_mode: Callable[[Any], None] = _C._push_on_torch_function_stack
# The same as the modes' own `with` does it. Seen in 2.13; needed.
leave_function_mode: Callable[[], Any] = _pop_mode
enter_function_mode: Callable[[Any], None] = _push_mode

# -- dispatch modes: they see every operator -----------------------------------------------------------

# Base class of such modes. Seen in 2.13; needed.
DispatchMode = TorchDispatchMode
# How many are on; put one on, take the innermost away. Seen in 2.13; needed.
dispatch_modes: Callable[[], int] = _C._len_torch_dispatch_stack
push_dispatch_mode: Callable[[Any], None] = _C._push_on_torch_dispatch_stack
pop_dispatch_mode: Callable[[Any], Any] = _C._pop_torch_dispatch_stack
# Block in which none of them sees an operator. Seen in 2.13; needed.
DisableTorchDispatch: Any = _C._DisableTorchDispatch

# -- tensors ----------------------------------------------------------------------------------------------

# What `torch.Tensor` inherits from C: its methods run no code of a subclass. Seen in 2.13; needed.
TensorBase: Any = _C.TensorBase
# Where the memory of a tensor's storage begins; `data_ptr` would copy what is to be copied on write. Seen in 2.13;
# needed.
data_address: Callable[[torch.Tensor], int] = _C._data_address
# The norms of many tensors in one call. Seen in 2.13; needed.
foreach_norm: Callable[[list[torch.Tensor]], Any] = torch._foreach_norm
# Many tensors less many others, in place, in one call. Seen in 2.13; needed.
foreach_subtract: Callable[[list[torch.Tensor], list[torch.Tensor]], None] = torch._foreach_sub_
# The numbers of many tensors in one, in one call. Seen in 2.13; needed.
flatten: Callable[[Sequence[torch.Tensor]], torch.Tensor] = _C._nn.flatten_dense_tensors
# Parameters whose sizes are yet to come (lazy modules) are of this class. Seen in 2.13; needed.
Uninitialized: Any = UninitializedTensorMixin

# -- autograd ---------------------------------------------------------------------------------------------

# The number that the next grad node of this thread gets. Seen in 2.13; needed.
sequence_number: Callable[[], int] = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
# What `no_grad` and its like call: a function mode sees it. Seen in 2.13; needed.
set_grad_enabled: Callable[[bool], None] = _C._set_grad_enabled
# The hooks on saved tensors that are at work, if any. Seen in 2.13; needed.
hooks_on_saved: Callable[[bool], Any] = _C._autograd._top_saved_tensors_default_hooks
# The innermost transform of torch.func, if any. Seen in 2.13; needed.
functorch_level: Callable[[], Any] = _C._functorch.peek_interpreter_stack
# Whether torch.jit.trace is at work. Seen in 2.13; needed.
is_tracing: Callable[[], bool] = _C._is_tracing
# The engine's one entry from Python, in torch.autograd and torch.autograd.graph. Seen in 2.13; needed.
ENGINE_ENTRY = "_engine_run_backward"

# -- modules, optimizers, loaders -----------------------------------------------------------------------------

# What `Module.__call__` is: the function below which torch's own forwards run. Seen in 2.13; needed.
CALL_IMPL: CodeType = torch.nn.Module._call_impl.__code__
# A module's hooks on its calls, by attribute; the hooks on all modules' calls. Seen in 2.13; needed.
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
GLOBAL_HOOKS: list[Any] = [
    getattr(module_file, name)
    for name in ("_global_forward_hooks", "_global_forward_pre_hooks", "_global_backward_hooks")
]
# Base class of the loss modules. Seen in 2.13; needed.
Loss: type[torch.nn.Module] = _Loss
# Base class of a DataLoader's iterators. Seen in 2.13; needed.
LoaderIterator: Any = _BaseDataLoaderIter
# The function that a scheduler's construction calls `step` from. Seen in 2.13; missing: that step is told as one more.
INITIAL_STEP = "_initial_step"

# -- compilers and tracers --------------------------------------------------------------------------------------

# Dynamo's module, and the function in it that switches it on for a call. Seen in 2.13; missing: compiled functions are
# not noted, and may stay uncompiled while they are recorded.
DYNAMO, DYNAMO_SWITCH = "torch._dynamo.eval_frame", "_maybe_set_eval_frame"
# The function around a compiled one, from which it is switched on. Seen in 2.13; missing: as above.
COMPILED_CALL = "compile_wrapper"
# What Dynamo takes for torch's own `Module.__call__`. Seen in 2.13; missing: it compiles our patch, too.
DYNAMO_MODULES, UNPATCHED_CALL = "torch._dynamo.variables.nn_module", "unpatched_nn_module_call"
# The tracers of torch.jit and their module. Seen in 2.13; missing: it records what we run.
TRACING, TRACERS = "torch.jit._trace", ("trace", "trace_module", "_get_trace_graph")
# Files and folders of torch's in which a forward runs once more, or a compiled one: what it calls is told already, or
# stays unseen. Seen in 2.13; missing: such calls are told twice.
RUNS_AGAIN = ("checkpoint.py", "_dynamo", "_functorch", "_inductor", "fx")
# Of torch.utils.checkpoint: what a checkpoint begins with, and the Function of a reentrant one. Seen in 2.13; missing:
# checkpoints are not noted.
CHECKPOINT_ENTRY, CHECKPOINT_FUNCTION = "_checkpoint_without_reentrant_generator", "CheckpointFunction"
# The file that `Tensor.backward` is written in. Seen in 2.13; needed.
TENSOR_FILE = torch._tensor.__file__

# -- attributes ----------------------------------------------------------------------------------------------------

# Read of torch's objects where they are needed. Seen in 2.13; missing: a fault in the trace names it.
ATTRIBUTES = {
    "_backward_hooks": "of a tensor: its hooks by number, None where it never had any",
    "_input_metadata": "of a grad node: shape and type of each gradient that comes in",
    "_apply": "of a module: what `to`, `cuda`, `half` … do to each of its tensors",
    "_base": "of a view: the tensor that it is a view of",
    "_cdata": "of a storage: its identity",
    "_compiled_call_impl": "of a module: what `Module.compile` made",
    "_enabled": "of an autocast region",
    "_is_view": "of a tensor",
    "_is_zerotensor": "of a tensor: its zeros have no memory",
    "_modules": "of a module: its children by name",
    "_sequence_nr": "of a grad node: the number it got when it was made",
    "_version": "of a tensor: its version counter",
}
# Looked for by name: what a grad node saved, as it is and raw; the module that a compiled one wraps. Seen in 2.13;
# missing: what it says is not told.
SAVED, RAW_SAVED, COMPILED_MODULE = "_saved_", "_raw_saved_", "_orig_mod"
