"""What torch's errors mean: the one table of their messages. Its test makes the installed torch raise each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import cached_property, lru_cache
from typing import NamedTuple


class ErrorKind(Enum):
    """What torch refuses, or what a script did not find: a pattern for its message. The first that fits counts."""

    # A DataLoader's worker tells what it met inside its own message, so it is asked first.
    WORKER_SENDS_GRAPH = (
        "DataLoader worker.*arguments don't support automatic differentiation|Cowardly refusing to serial"
    )
    WORKER_FAILED = r"Caught (?P<error>\w+) in DataLoader worker process(?:.*\n(?P<last>\w+: [^\n]*))?"

    SAVED_TENSOR_MODIFIED = r"modified by an inplace operation(?:.*?Tensor \[(?P<shape>[\d, ]*)\]\])?"
    GRAPH_FREED = "backward through the graph a second time"
    NO_GRAPH = "does not require grad and does not have a grad_fn"
    INPUT_UNUSED = "appears to not have been used in the graph"
    INPUT_WANTS_NO_GRAD = "One of the differentiated Tensors does not require grad"
    WANTS_NO_GRAD = "can't retain_grad on Tensor|register a hook on a tensor that doesn't require"
    LOSS_IS_COMPLEX = "only for real scalar outputs"
    NOT_SCALAR = "can be implicitly created only for"
    NUMBER_HAS_NO_BACKWARD = r"'(?:float|int|numpy\.\w+|float\d+)' object has no attribute 'backward'"

    # What backward() and autograd.grad() are given, and what they meet on their way.
    GRADIENT_HAS_OTHER_SHAPE = (
        r"Mismatch in shape: grad_output\[\d+\] has a shape of torch.Size\((?P<given>\[[\d, ]*\])\) and "
        r"output\[\d+\] has a shape of torch.Size\((?P<wanted>\[[\d, ]*\])\)"
    )
    GRADIENT_HAS_OTHER_DTYPE = (
        r"Mismatch in dtype: grad_output\[\d+\] has a dtype of (?P<given>[\w.]+) and "
        r"output\[\d+\] has a dtype of (?P<wanted>[\w.]*\w)"
    )
    GRADIENT_IS_NO_TENSOR = "gradients can be either Tensors or None, but got (?P<given>[^ ]+)"
    GRADIENT_ASSIGNED = (
        "attempting to assign a gradient (?:of|with) (?P<what>size|dtype|device type) '(?P<given>[^']*)' "
        "to a tensor (?:of|with) (?:size|grad_dtype|device type) '(?P<wanted>[^']*)'"
    )
    GRADIENT_ASSIGNED_NO_TENSOR = r"assigned grad expected to be a Tensor or None but got grad of type (?P<given>\w+)"
    INPUTS_EMPTY = r"argument to `\w+\(\)` cannot be empty"
    NO_DERIVATIVE = r"derivative for '?(?:aten::)?(?P<op>\w+)(?:: (?P<input>\w+))?'? is not implemented"
    NO_FORWARD_DERIVATIVE = r"forward AD with (?P<op>\w+) that does not support it"
    NOT_TWICE = "marked with @once_differentiable"
    ANOMALY_NAN = r"Function '(?P<node>\w+)' returned nan values in its (?P<place>\d+)th output"

    # Custom Functions, gradcheck and hooks.
    FUNCTION_RETURNED_WRONG = r"[Ff]unction (?P<node>\w+) returned an? (?:incorrect|invalid)"
    FUNCTION_WITHOUT_BACKWARD = "must implement either the backward or vjp method"
    FUNCTION_WITHOUT_FORWARD = "must implement the forward function for custom"
    FUNCTION_SAVES_NO_TENSOR = (
        r"save_for_backward can only save variables, but argument (?P<place>\d+) is of type (?P<given>\w+)"
    )
    FUNCTION_TAKES_OTHER_COUNT = (
        r"(?P<owner>\w+)\.(?P<method>backward|setup_context|jvp|vmap)\(\) (?:takes \d+ positional arguments? but \d+ "
        r"(?:was|were) given|missing \d+ required positional)"
    )
    FUNCTION_RETURNED_NO_TENSOR = r"expected Variable or None \(got (?P<given>\w+)\)"
    FUNCTION_IS_OLD = "Legacy autograd function with non-static forward"
    FUNCTION_WITHOUT_SETUP = "must override the setup_context staticmethod"
    FUNCTION_WITHOUT_VMAP = r"tried to vmap over (?P<function>\w+), but it does not have vmap support"
    GRADCHECK_DIFFERS = r"Jacobian mismatch for output (?P<output>\d+) with respect to input (?P<input>\d+)"
    GRADCHECK_WANTS_NOTHING = "gradcheck expects at least one input tensor to require gradient"
    GRADCHECK_OVERLAPS = r"The (?P<place>\d+)th input has a dimension with stride 0"
    HOOK_CHANGES_GRADIENT = "hook '(?P<hook>[^']*)' has changed the (?P<what>size|type|device) of value"
    HOOK_RETURNED_NO_TENSOR = r"expected Variable, but hook returned '(?P<given>\w+)'"
    HOOK_RETURNED_WRONG_COUNT = (
        r"Backward hook returned an invalid number of grad_input, got (?P<given>\d+), but expected (?P<wanted>\d+)"
    )
    HOOK_WANTS_LEAF = "post accumulate grad hooks cannot be registered on non-leaf"
    HOOKED_MODULE_WRITTEN = "BackwardHookFunction(?:Backward)? is a view and is being modified inplace"

    INFERENCE_TENSOR = "[Ii]nference tensor"
    LEAF_WRITTEN = "(?P<view>view of a )?leaf Variable that requires grad is being used in an in-place"
    REPEATED_MEMORY_WRITTEN = "more than one element of the written-to tensor"
    VIEW_OF_NO_GRAD_WRITTEN = "view was created in no_grad mode"
    VIEW_OF_FUNCTION_WRITTEN = "is a view and is being modified inplace.*custom Function"
    ONE_OF_VIEWS_WRITTEN = "is a view and is being modified inplace"
    INTEGER_WANTS_GRAD = "nly Tensors of floating point .*dtype can require grad"
    PARAMETER_REPLACED = "cannot assign '[^']*'.* (?:as|to) parameter '(?P<parameter>[^']*)'"
    FLAG_OF_RESULT_SET = "only change requires_grad flags of leaf"
    RESULT_DEEP_COPIED = "support the deepcopy protocol"

    # What a tensor with a graph cannot be used for.
    NUMPY_OF_GRAPH = r"Can't call numpy\(\) on Tensor that requires grad"
    OUT_OF_GRAPH = r"(?P<op>\w+)\(\): functions with out=... arguments don't support automatic differentiation"
    RESIZED = "cannot resize variables that require grad"
    VIEW_DETACHED = "Can't detach views in-place"
    DATA_WITHOUT_GRADIENT = "data set to a tensor that requires gradients must be floating point"
    DATA_IS_NO_TENSOR = r"Variable data has to be a tensor, but got (?P<given>\w+)"
    MANY_AS_ONE_NUMBER = "elements cannot be converted to Scalar|only one element tensors can be converted"
    MANY_AS_A_CONDITION = "Boolean value of Tensor with more than one value is ambiguous"

    # Checkpoints.
    CHECKPOINT_OTHER_TENSORS = (
        r"Recomputed values for the following tensors have different metadata.*?saved metadata: "
        r"(?P<saved>\{[^\n]*\})\s*recomputed metadata: (?P<again>\{[^\n]*\})"
    )
    CHECKPOINT_OTHER_COUNT = (
        r"A different number of tensors was saved.*?forward: (?P<saved>\d+)\s*Number of tensors saved during "
        r"recomputation: (?P<again>\d+)"
    )
    CHECKPOINT_WITHOUT_INPUTS = "incompatible with .grad\\(\\) or passing an `inputs` parameter"
    CHECKPOINT_WITHOUT_GRADIENT = r"none of output has requires_grad=True, this checkpoint\(\) is not necessary"

    # Function transforms: vmap, grad, jvp and their like.
    VMAP_RANDOM = "called random operation while in randomness error mode"
    VMAP_WRITES = "inplace arithmetic.*is not possible because there exists a Tensor `other`"
    VMAP_ITEM = r"vmap over calling \.item\(\) on a Tensor"
    VMAP_BRANCHES = "vmap: .*data-dependent control flow"
    VMAP_SHAPE_OF_VALUES = "vmap: We do not support batching operators that can (?:output|support) dynamic shape"
    VMAP_SIZES_DIFFER = r"same size in the mapped dimension, got sizes (?P<sizes>\[[\d, ]*\])"
    VMAP_DIMS = r"vmap\(.*in_dims.*(?:is not compatible with the structure|Got in_dim=)"
    VMAP_RETURNS_NO_TENSOR = "must only return Tensors, got type <class '(?P<given>[\\w.]+)'>"
    VMAP_BATCH_NORM = "running_mean or running_var, which will be updated in place, were not batched"
    TRANSFORM_HAS_NO_MEMORY = "Cannot access data pointer of Tensor that doesn't have storage"
    TRANSFORM_TENSOR_ESCAPED = "tensor may have escaped from inside a function being vmapped"
    TRANSFORM_WANTS_SCALAR = r"Expected f\(\*args\) to return a scalar (?:T|t)ensor, got tensor with (?P<dims>\d+) dims"
    TRANSFORM_WANTS_TENSOR = r"Expected f\(\*args\) to return a Tensor, got <class '(?P<given>[\w.]+)'>"
    TRANSFORM_CALLS_BACKWARD = r"backward\(\) called inside a functorch transform"
    TRANSFORM_SETS_FLAG = r"call Tensor.requires_grad_\(\)"
    HESSIAN_WANTS_SCALAR = r"returned by the function given to (?P<call>\w+) should contain a single element"
    FUNCTION_IS_CONSTANT = "user-provided function (?:does not require gradients|is independent of)"
    TANGENT_HAS_OTHER_SIZE = (
        r"forward gradient that has a different size.*of size (?P<wanted>\[[\d, ]*\]).*of size (?P<given>\[[\d, ]*\])"
    )

    # Gradients that are clipped and scaled.
    NOTHING_TO_CLIP = r"empty\(\)"
    CLIPPED_NOT_FINITE = "total norm of order .* is non-finite"
    SCALER_STEPPED_TWICE = r"step\(\) has already been called since the last update"
    SCALER_UNSCALED_TWICE = r"unscale_\(\) has already been called on this optimizer"
    SCALER_UNSCALED_LATE = r"unscale_\(\) is being called after step\(\)"
    SCALER_NEVER_SCALED = "but _scale is None"
    SCALER_UPDATED_EARLY = "No inf checks were recorded prior to update"
    SCALER_FOUND_NO_GRADIENTS = "No inf checks were recorded"
    SCALER_MEETS_HALF = "Attempting to unscale FP16 gradients"
    SCALER_WANTS_TENSOR = "outputs must be a Tensor or an iterable of Tensors"

    # Optimizers and schedulers.
    OPTIMIZER_WITHOUT_PARAMETERS = "optimizer got an empty parameter list"
    OPTIMIZER_WANTS_LEAF = "can't optimize a non-leaf Tensor"
    OPTIMIZER_WANTS_TENSORS = "optimizer can only optimize Tensors, but one of the params is (?P<given>.+)"
    OPTIMIZER_WANTS_LIST = "should be an iterable of Tensors or dicts, but got (?P<given>.+)"
    OPTIMIZER_SETTING = r"Invalid (?P<setting>learning rate|[\w ]+? value|\w+ parameter at index \d): (?P<given>.+)"
    OPTIMIZER_NESTEROV = "Nesterov momentum requires a momentum and zero dampening"
    OPTIMIZER_SPARSE = "(?P<optimizer>\\w+) does not support sparse gradients"
    OPTIMIZER_ONE_GROUP = "LBFGS doesn't support per-parameter options"
    OPTIMIZER_WANTS_CLOSURE = r"(?P<optimizer>\w+)\.step\(\) missing 1 required positional argument: 'closure'"
    OPTIMIZER_OTHER_STATE = (
        "loaded state dict (?:contains a parameter group that doesn't match|has a different number of)"
    )
    PARAMETER_IN_TWO_GROUPS = "some parameters appear in more than one parameter group"
    SCHEDULER_RESUMED = "param 'initial_lr' is not specified"
    SCHEDULER_EXHAUSTED = r"Tried to step \d+ times. The specified number of total steps is (?P<total>\d+)"
    SCHEDULER_WANTS_OPTIMIZER = "(?P<given>\\w+) is not an Optimizer"
    SCHEDULER_WANTS_METRIC = r"ReduceLROnPlateau\.step\(\) missing 1 required positional argument"
    SCHEDULER_WANTS_MOMENTUM = "optimizer must support momentum or beta1"

    # Modules.
    MODULE_NOT_INITIALISED = r"before Module.__init__\(\) call"
    MODULE_OTHER_STATE = r"Error\(s\) in loading state_dict for (?P<module>\w+):\s*(?P<first>[^\n]*)"
    MODULE_LAZY = "uninitialized parameter"
    MODULE_TAKES_OTHER_COUNT = (
        r"(?P<owner>\w+)\.forward\(\) (?:takes \d+ positional arguments? but \d+ (?:was|were) given"
        r"|missing \d+ required positional)"
    )
    MODULE_WITHOUT_FORWARD = r'Module \[(?P<module>\w+)\] is missing the required "forward" function'
    BATCH_OF_ONE = "more than 1 value per channel"

    # Several processes.
    PARALLEL_UNUSED = "Expected to have finished reduction in the prior iteration"
    PARALLEL_TWICE = "Expected to mark a variable ready only once"
    PARALLEL_GRAPH_CHANGED = "Your training graph has changed in this iteration"
    PARALLEL_WITHOUT_PARAMETERS = "DistributedDataParallel is not needed when a module doesn't have any parameter"
    PARALLEL_WITHOUT_GROUP = "Default process group has not been initialized"
    PARALLEL_WITHOUT_ADDRESS = "environment variable (?P<variable>\\w+) expected, but not set"

    # Shapes, and places in a tensor.
    VIEW_NEEDS_COPY = "view size is not compatible with input tensor's size and stride"
    VIEW_OF_OTHER_COUNT = (
        r"shape '(?P<wanted>\[[^']*\])' is invalid for input of size (?P<count>\d+)|split_sizes to sum exactly"
    )
    WRITTEN_IS_SMALLER = r"output with shape (?P<shape>\[[\d, ]*\]) doesn't match the broadcast shape"
    STATE_OF_OTHER_BATCH = r"Expected hidden(?:\[\d\])? size (?P<wanted>\([\d, ]*\)), got (?P<given>\[[\d, ]*\])"
    LAYER_HAS_OTHER_SIZE = (
        r"expected input\[[\d, ]*\] to have (?P<wanted>\d+) channels, but got \d+"
        r"|mat1 and mat2 shapes cannot be multiplied|should contain \d+ elements not|Given normalized_shape="
    )
    INPUT_OF_OTHER_WIDTH = r"input.size\(-1\) must be equal to input_size. Expected (?P<wanted>\d+), got (?P<given>\d+)"
    TOO_SMALL_FOR_KERNEL = "Kernel size can't be greater than actual input size|Output size is too small"
    INDEX_OUT_OF_RANGE = (
        "out of bounds for dimension|index out of range in self|not in the valid range|Class values must be"
    )
    SHAPES_DIFFER = (
        "size mismatch, got|Expected size for first two dimensions of batch2"
        r"|size of tensor a \(-?\d+\) must match|Sizes of tensors must match|stack expects each tensor to be equal size"
        "|doesn't match the broadcast shape|expanded size of the tensor|does not broadcast with previously seen"
        "|The shape of the mask|shape mismatch:|inconsistent tensor size|same number of dimensions as"
        "|attn_mask is .* but should be|was expecting embedding dimension"
    )
    DIMENSIONS_DIFFER = r"Dimension out of range|number of dimensions in the tensor|Expected \dD"

    # Dtypes, named one by one where the message tells more than that they differ.
    DTYPE_OF_TARGET = r"expected target dtype to be Long or Byte, but got (?P<given>\w+)"
    DTYPE_OF_INDEX = (
        r"to have one of the following scalar types: Long, Int; but got torch.(?:\w+\.)?(?P<given>\w+)Tensor"
        "|tensors used as indices must be|Expected dtype int32/int64 for index|only applicable to index tensor"
    )
    DTYPE_OF_MASK = "only supports boolean masks|expected condition to be a boolean tensor"
    DTYPE_OF_RESULT = "result type (?P<given>\\w+) can't be cast to the desired output type (?P<wanted>\\w+)"
    DTYPE_OF_MEAN = r"could not infer output dtype.*Got: (?P<given>\w+)"
    DTYPE_HAS_NO_OP = (
        r"\"(?P<op>\w+)\" not implemented for '(?P<given>\w+)'"
        r"|Expected a floating point or complex tensor as input. Got (?P<got>\w+)"
    )
    MASK_SUBTRACTED = "Subtraction, the `-` operator, with (?:a|two) bool tensor"
    DTYPES_MIXED = (
        r"(?:m1 and m2 to|mat1 and mat2 must) have the same dtype, but got:? (?P<one>\w+) (?:!=|and) (?P<other>\w+)"
        r"|Input type \((?P<given>[\w ]+)\) and (?:bias|weight) type \((?P<wanted>\w+)\) should be the same"
        r"|RNN input dtype \(torch.(?P<input>\w+)\) does not match weight dtype \(torch.(?P<weight>\w+)\)"
        r"|Found dtype (?P<found>\w+) but expected (?P<expected>\w+)"
        "|have the same dtype|expected scalar type|expected dtype \\w+ for|dtypes match, got|dtype to be equal to src"
        "|get_mkldnn_dtype: unsupported data type"
    )
    DEVICES_MIXED = "(?i:same device|expected device|device type|different devices|found at least two devices)"
    # Python's own words, where None stands in a tensor's place.
    NONE_USED = "NoneType|unsupported operand|can't convert|must be Tensor"

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(self.value, re.DOTALL)


class TorchError(NamedTuple):
    """What a message means, None where it is not known, and the parts of it that tell more."""

    kind: ErrorKind | None
    parts: Mapping[str, str | None]


@lru_cache(maxsize=256)
def torch_error(message: str | None) -> TorchError:
    """What a message of torch's means; None is no message."""
    for kind in ErrorKind if message else ():
        found = kind.pattern.search(message or "")
        if found is not None:
            return TorchError(kind, found.groupdict())
    return TorchError(None, {})
