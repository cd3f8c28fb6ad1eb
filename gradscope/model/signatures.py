"""The arguments of torch's own functions by name, for calls that give them by position, with what they are by default.

In torch these names stand in C++ or behind dispatchers, where no program finds them.
"""

from __future__ import annotations

from ..text import elide
from .arguments import Given, Value, word

_CONV = "input weight bias stride=1 padding=0 dilation=1 groups=1"
_TRANSPOSED = "input weight bias stride=1 padding=0 output_padding=0 groups=1 dilation=1"
_MAX_POOL = "input kernel_size stride padding=0 dilation=1 ceil_mode=False return_indices=False"
_AVG_POOL = "input kernel_size stride padding=0 ceil_mode=False count_include_pad=True divisor_override"
_DROPOUT = "input p=0.5 training inplace=False"
_RNN = "input hx flat_weights bias num_layers dropout training bidirectional batch_first"
_REDUCTION = "reduction='mean'"
_ALONG = "input dim keepdim=False"
_SIGNATURES = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), _CONV),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), _TRANSPOSED),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _MAX_POOL),
    **dict.fromkeys(("avg_pool2d", "avg_pool3d"), _AVG_POOL),
    **dict.fromkeys(("dropout", "dropout1d", "dropout2d", "dropout3d"), _DROPOUT),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), _RNN),
    **dict.fromkeys(("mean", "sum", "prod", "amax", "amin", "logsumexp", "argmax", "argmin"), _ALONG),
    **dict.fromkeys(("softmax", "log_softmax", "cumsum", "unsqueeze", "squeeze", "unbind"), "input dim"),
    "linear": "input weight bias",
    "masked_fill": "input mask value",
    "layer_norm": "input normalized_shape weight bias eps=1e-05",
    "batch_norm": "input running_mean running_var weight bias training momentum=0.1 eps=1e-05",
    "embedding": "input weight padding_idx max_norm norm_type=2.0 scale_grad_by_freq=False sparse=False",
    "cross_entropy": f"input target weight size_average ignore_index=-100 reduce {_REDUCTION} label_smoothing=0.0",
    "mse_loss": f"input target size_average reduce {_REDUCTION}",
    "flatten": "input start_dim=0 end_dim=-1",
    "transpose": "input dim0 dim1",
    "split": "input split_size dim=0",
    "chunk": "input chunks dim=0",
    "cat": "tensors dim=0",
    "stack": "tensors dim=0",
    "pow": "input exponent",
    "leaky_relu": "input negative_slope=0.01 inplace=False",
    "interpolate": "input size scale_factor mode='nearest' align_corners",
}
# What an argument of that name is mostly left at, of functions that are not listed.
_USUAL = {"inplace": "False", "reduction": "'mean'", "memory_format": "preserve_format", "approximate": "'none'"}
_WIDEST = 120


def told(op: str, given: Given) -> str:
    """The arguments that are no tensors, by name, without those that are what they are by default."""
    names, usual = [], dict(_USUAL)
    for part in _SIGNATURES.get(op, "").split():
        name, _, default = part.partition("=")
        names.append(name)
        usual[name] = default
    named: list[tuple[str, Value]] = [
        (names[place] if place < len(names) else "", value) for place, value in enumerate(given.positional)
    ]
    shown = []
    for name, value in (*named, *given.named):
        text = word(value)
        if text and not (name and (text in ("None", usual.get(name)) or _all_are(value, usual.get(name)))):
            shown.append(f"{name}={text}" if name else text)
    return elide(", ".join(shown), _WIDEST)


def _all_are(value: Value, default: str | None) -> bool:
    """Whether a tuple repeats the default for each axis: a stride of (1, 1)."""
    return isinstance(value, tuple) and bool(value) and all(word(item) == default for item in value)
