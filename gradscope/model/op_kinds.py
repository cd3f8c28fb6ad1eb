"""What ops do, by name: the one table that all readers of a trace ask.

A name is torch's own; an operator has that of its method without underscores: `x + y` is add, `1 - x` rsub, `x += y`
iadd or add_. An op may be in several sets.
"""

from __future__ import annotations

from .moments import OpCall


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# -- arithmetic ----------------------------------------------------------------------------------

ADDS = _names("add radd iadd add_")
SUBTRACTS = _names("sub rsub isub sub_ subtract")
MULTIPLIES = _names("mul rmul imul mul_")
DIVIDES = _names("div rdiv idiv div_ divide true_divide truediv rtruediv itruediv")
SCALES = MULTIPLIES | DIVIDES
SHIFTS = ADDS | SUBTRACTS | _names("neg")  # what goes in comes out with the derivative 1 or -1
SUMS = _names("sum nansum")
AVERAGES = _names("mean nanmean")
INTERPOLATES = _names("addcdiv addcmul lerp")  # one step of an optimizer, in one op

# -- the same values elsewhere -------------------------------------------------------------------

TRANSPOSES = _names("t T mT H transpose permute movedim")
RESHAPES = _names("view view_as reshape flatten unflatten squeeze squeeze_ unsqueeze unsqueeze_")
VIEWS = TRANSPOSES | RESHAPES | _names("__getitem__ expand")
COPIES = _names("clone contiguous")
CASTS = _names("to cpu cuda xpu double float half bfloat16 type type_as cfloat cdouble")
JOINS = _names("cat stack")
PASSES_ON = VIEWS | COPIES | CASTS | JOINS | _names("clamp dropout identity")  # nearly all values as they are

# -- the way out of the graph and into it ----------------------------------------------------------

DETACHES = _names("detach detach_ data")
NAMED_ANEW = DETACHES | _names("clone requires_grad_")  # what comes out is the same to whoever wrote the line
GIVES_NUMBER = _names("item float int bool complex index")
LEAVES_TORCH = GIVES_NUMBER | _names("tolist numpy array")
COPIES_NUMBERS = _names("tensor as_tensor asarray new_tensor scalar_tensor")
# They make a tensor of plain numbers or of an array, when they have no tensor among their arguments.
ENTERS_TORCH = COPIES_NUMBERS | _names("from_numpy frombuffer full")
# Their memory belongs to an array, too.
SHARES_MEMORY = _names("numpy array dlpack as_tensor asarray from_numpy frombuffer from_dlpack")
# Of the first tensor that these are given, they read its shape, dtype and device alone.
LIKE_FIRST = _names(
    "empty_like full_like ones_like rand_like randint_like randn_like zeros_like "
    "new_empty new_empty_strided new_full new_ones new_zeros"
)
LIKE_SECOND = _names("expand_as reshape_as to type_as view_as")  # so do these of their second

# -- derivatives -----------------------------------------------------------------------------------

DRAWS = _names("bernoulli poisson normal")
RANDOM = DRAWS | _names(
    "bernoulli_ cauchy_ exponential_ geometric_ log_normal_ multinomial normal_ rand rand_like randint randint_like "
    "randn randn_like random_ randperm rrelu uniform_"
)
ZERO_DERIVATIVE = DRAWS | _names("round floor ceil trunc sign sgn heaviside")
# The derivative is computed from the result, so that the op keeps it.
KEEPS_RESULT = _names("tanh sigmoid exp expm1 sqrt rsqrt reciprocal tan softmax log_softmax relu")
# The grad nodes of ops with a weight that the gradient is multiplied by, and of activations with flat ends.
WEIGHT_NODES = tuple(f"{name}Backward" for name in ("Addmm", "Mm", "Bmm", "Convolution", "Baddbmm", "Mv", "Linear"))
FLAT_ENDED_NODES = tuple(
    f"{name}Backward" for name in ("Sigmoid", "Tanh", "Softmax", "LogSigmoid", "Hardsigmoid", "Hardtanh")
)
# They write or pass on what they are given: an infinite mask is meant.
PASSES_INFINITY = _names(
    "__setitem__ amax amin as_tensor constant_ fill_ full full_like index_fill index_fill_ logsumexp masked_fill "
    "masked_fill_ masked_scatter max min new_full scatter scatter_ tensor tril tril_ triu triu_ where"
)

# -- layers, losses, scores --------------------------------------------------------------------------

DROPOUTS = _names("dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout")
RECURRENT = _names("lstm gru rnn_tanh rnn_relu")
ATTENTIONS = _names("multi_head_attention_forward scaled_dot_product_attention")
RECTIFIES = _names("relu relu_")
SQUASHES = _names("sigmoid sigmoid_ tanh tanh_")
SOFTMAXES = _names("softmax _softmax gumbel_softmax")
SIGMOIDS = _names("sigmoid sigmoid_")
GIVES_PROBABILITIES = SOFTMAXES | SIGMOIDS | _names("hardsigmoid")
GIVES_LOGARITHMS = _names("log_softmax logsigmoid log")
GIVES_SCORES = _names("linear conv1d conv2d relu")
MEASURES_DISTANCE = _names("mse_loss l1_loss smooth_l1_loss huber_loss")
COMPARES = MEASURES_DISTANCE | _names("poisson_nll_loss gaussian_nll_loss")  # two tensors, element by element
LOSSES = COMPARES | _names(
    "cross_entropy nll_loss binary_cross_entropy binary_cross_entropy_with_logits kl_div ctc_loss multi_margin_loss "
    "multilabel_margin_loss cosine_embedding_loss margin_ranking_loss soft_margin_loss hinge_embedding_loss "
    "triplet_margin_loss multilabel_soft_margin_loss"
)
# What a loss that is written by hand makes of a difference.
REDUCES = _names("pow square abs mean sum mul sqrt neg div huber_loss log1p exp add")
SCORES = _names("item eq ne argmax topk float tolist")  # an evaluation's last ops
CLIPS = _names("clip_grad_norm_ clip_grad_value_")


def read_inputs(op: OpCall) -> tuple[int, ...]:
    """The inputs of whose numbers an op makes its results: `randn_like(std)` has none."""
    if op.name in LIKE_FIRST:
        return op.inputs[1:]
    return op.inputs[:1] if op.name in LIKE_SECOND else op.inputs


def has_zero_derivative(node: str) -> bool:
    """Whether a grad node of this name gives nothing but zeros."""
    return node.partition("Backward")[0].lower() in ZERO_DERIVATIVE
