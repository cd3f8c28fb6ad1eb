"""Functions that torch calls, and what stands elsewhere in the file."""

from __future__ import annotations

from gradscope.repair.changes.calls import with_keyword, without_arguments
from gradscope.repair.changes.elsewhere import at_call, at_keyword, class_says, undecorated
from gradscope.repair.changes.functions import returned_followed_by, saved_apart, super_first
from gradscope.repair.changes.heads import under
from gradscope.repair.changes.statements import removed_flag
from tests.mending import changed, line_changed

SOFT = """\
class Soft(Function):
    @staticmethod
    def forward(ctx, x, scale, w):
        ctx.save_for_backward(x, scale, w)  # here
        return x * w

    @staticmethod
    def backward(c, grad):
        a, s, w = c.saved_tensors  # three
        return grad * s, None, None
"""


def test_what_is_no_tensor_is_saved_apart() -> None:
    assert changed(SOFT, saved_apart(1)) == SOFT.replace(
        "(x, scale, w)  # here\n", "(x, w)  # here\n        ctx.scale = scale\n"
    ).replace("a, s, w = c.saved_tensors  # three\n", "a, w = c.saved_tensors  # three\n        s = c.scale\n")
    two = SOFT.replace(", w)  # here", ")  # here").replace("a, s, w =", "(a, s) =")
    after = changed(two, saved_apart(1))
    assert after is not None
    assert "(a,) = c.saved_tensors" in after or "a, = c.saved_tensors" in after
    assert changed(SOFT.replace("a, s, w =", "kept ="), saved_apart(1)) is None


def test_an_init_begins_with_its_parents() -> None:
    text = 'class A(Module):\n    def __init__(self):\n        """Makes it."""\n        self.a = f()  # here\n{}'
    begun = '        """Makes it."""\n        super().__init__()\n        self.a = f()  # here\n'
    late = changed(text.format("        super().__init__()\n        self.b = 1\n"), super_first())
    assert late is not None
    assert late.endswith(f"{begun}        self.b = 1\n")
    assert (changed(text.format(""), super_first()) or "").endswith(begun)
    assert changed(text.format("        super().__init__(1)\n"), super_first()) is None
    assert changed("def f():\n    g()  # here\n", super_first()) is None


def test_a_mark_is_taken_away_with_its_line() -> None:
    text = (
        "class A:\n    @staticmethod\n    @fn.once_differentiable  # once\n    def backward(ctx): pass\nf()  # here\n"
    )
    assert changed(text, undecorated("once_differentiable")) == text.replace(
        "    @fn.once_differentiable  # once\n", ""
    )
    assert changed(text.replace("class A", "@once_differentiable\ndef g(): pass\nclass A"), undecorated("once")) is None


def test_a_class_says_one_thing_more() -> None:
    text = 'f()  # here\nclass A(B):\n    """Words."""\n\n    @staticmethod\n    def g(): pass\n'
    assert changed(text, class_says("A", "rule = True")) == text.replace(
        "\n    @static", "\n    rule = True\n    @static"
    )
    assert changed(text, class_says("B", "rule = True")) is None


def test_the_one_call_of_the_file_is_changed_and_not_one_of_two() -> None:
    text = "m = wrap(\n    Net(),\n)  # made\ng()  # here\n"
    more = at_call(("wrap",), with_keyword(("wrap",), "unused", "True"))
    assert changed(text, more) == text.replace("Net()", "Net(), unused=True")
    assert changed(text + "n = wrap(m)\n", more) is None
    inplace = at_keyword("inplace", without_arguments("ReLU"))
    assert changed("a = nn.ReLU(inplace=True)\ng()  # here\n", inplace) == "a = nn.ReLU()\ng()  # here\n"


def test_a_flag_goes_and_a_statement_comes_under_a_block() -> None:
    assert changed("def f(x):\n    x.requires_grad = True  # here\n    return x\n", removed_flag("requires_grad")) == (
        "def f(x):\n    # here\n    return x\n"
    )
    assert line_changed("import torch\nx.grad = None  # here\n", removed_flag("requires_grad")) is None
    assert changed("import torch as t\ny = f(\n  x)  # here\n", under("with {torch}.plain():")) == (
        "import torch as t\nwith t.plain():\n    y = f(\n      x)  # here\n"
    )


def test_one_of_the_returned_values_is_turned() -> None:
    turned = returned_followed_by(1, ".t()")
    assert line_changed("def backward(ctx, g):\n    return (g, a @ b, None)  # here\n", turned) == (
        "return (g, (a @ b).t(), None)"
    )
    assert line_changed("def backward(ctx, g):\n    return g  # here\n", turned) is None
