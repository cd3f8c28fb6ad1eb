"""A result is used as what it is: under its name, under another, or in the place of two branches."""

from __future__ import annotations

from gradscope.repair.changes.results import (
    chosen,
    fitted,
    given_joined,
    given_listed,
    gradient_fitted,
    local_instead,
    made_new,
    mask_multiplied,
    result_bound,
    value_copied,
)
from tests.mending import changed, line_changed


def test_a_method_in_place_becomes_the_one_that_returns() -> None:
    new = made_new("resize_", "reshape")
    assert line_changed("h = f()\nh.resize_(2, (3))  # here\n", new) == "h = h.reshape(2, (3))"
    assert line_changed("def f(x):\n    return (x + 1).resize_(6)  # here\n", new) == "return (x + 1).reshape(6)"
    assert line_changed("for h in hs:\n    h.resize_(2)  # here\n", new) is None  # nobody would see it
    assert line_changed("def f(h):\n    h.resize_(2)  # here\n", new) is None


def test_what_was_to_be_written_into_is_bound() -> None:
    text = "import torch\nclass A:\n    def f(self, x):\n        {}  # here\n"
    bound = result_bound("mul")
    assert line_changed(text.format("torch.mul(x, (2), out=self.w)"), bound) == "self.w = torch.mul(x, (2))"
    assert line_changed(text.format("torch.mul(x, 2, out=self.w[0])"), bound) == "self.w[0] = torch.mul(x, 2)"
    assert line_changed(text.format("y = torch.mul(out=self.w, input=x, other=2)"), bound) == (
        "y = torch.mul(input=x, other=2)"
    )
    assert line_changed(text.format("torch.mul(x, 2, out=x)"), bound) is None  # the caller waits for it


MASKED = """
class Layer(nn.Linear):
    def forward(self, x):
        self.weight = (self.weight *
                       self.mask)  # here
        y = linear(x, self.weight, self.bias)  # by self.weight
        return y + self.weight.sum()
"""


def test_a_changed_parameter_has_a_name_of_its_own() -> None:
    after = changed(MASKED.replace("*\n                       self.mask)", "* self.mask)"), local_instead())
    assert after is not None
    assert "        weight = (self.weight * self.mask)  # here\n" in after
    assert "linear(x, weight, self.bias)  # by self.weight\n" in after
    assert "return y + weight.sum()\n" in after


def test_no_name_of_its_own_where_nobody_reads_it_or_it_is_taken() -> None:
    one = "class A:\n    def f(self):\n        self.weight = self.weight * 2  # here\n{}"
    assert changed(one.format("        return 1\n"), local_instead()) is None
    assert changed(one.format("        weight = 1\n        return self.weight\n"), local_instead()) is None
    assert changed("import torch\nm.weight = m.weight * 2  # here\n", value_copied()) == (
        "import torch\nwith torch.no_grad():\n    m.weight.copy_(m.weight * 2)  # here\n"
    )
    assert changed("import torch\nif a:\n\tm.weight = b  # here\n", value_copied()) == (
        "import torch\nif a:\n\twith torch.no_grad():\n\t\tm.weight.copy_(b)  # here\n"
    )


def test_what_is_assigned_fits_its_owner() -> None:
    assert line_changed("ps[0].grad = a + b  # here\n", fitted(".to({owner}.dtype)")) == (
        "ps[0].grad = (a + b).to(ps[0].dtype)"
    )
    assert line_changed("grad = a + b  # here\n", fitted(".to({owner}.dtype)")) is None


def test_two_branches_become_a_choice() -> None:
    head = "import torch as th\n"
    assert line_changed(f"{head}y = 2 * (a if (c > 0) else b)  # here\n", chosen()) == "y = 2 * th.where((c > 0), a, b)"
    both = f"{head}if c > 0:  # here\n    y = a\nelse:\n    y = b\nz = y\n"
    assert changed(both, chosen()) == f"{head}y = th.where(c > 0, a, b)\nz = y\n"
    assert changed(both.replace("y = b\n", "z = b\n"), chosen()) is None
    returns = f"{head}def f(c):\n    if c > 0:  # here\n        return 1\n    return 2\n"
    assert changed(returns, chosen()) == f"{head}def f(c):\n    return th.where(c > 0, 1, 2)\n"
    assert changed(returns.replace("    return 2\n", "    log()\n    return 2\n"), chosen()) is None


def test_a_masked_sum_keeps_its_size_and_a_mean_is_left_alone() -> None:
    assert line_changed("y = x[x > 0].sum()  # here\n", mask_multiplied()) == "y = (x * (x > 0)).sum()"
    assert line_changed("y = x[x > 0].mean()  # here\n", mask_multiplied()) is None
    assert line_changed("y = x[:3].sum()  # here\n", mask_multiplied()) is None


def test_an_optimizer_is_given_all_there_is() -> None:
    text = "ps = list(b.parameters())\nopt = SGD([a.parameters(), ps, *c, d.head], lr=(0.1))  # here\n"
    call = "SGD([a.parameters(), ps, *c, d.head], lr=(0.1))"
    assert line_changed(text, given_joined(), call) == (
        "opt = SGD([*a.parameters(), *ps, *c, *d.head.parameters()], lr=(0.1))"
    )
    assert line_changed("opt = SGD((w), lr=1)  # here\n", given_listed(), "SGD((w), lr=1)") == "opt = SGD([(w)], lr=1)"


def test_a_gradient_fits_what_is_differentiated() -> None:
    fit = gradient_fitted(".reshape({result}.shape)")
    assert line_changed("y.backward(gradient=a + b)  # here\n", fit) == "y.backward(gradient=(a + b).reshape(y.shape))"
    text = "import torch\ng = torch.autograd.grad(y, x, grad_outputs=v)  # here\n"
    assert line_changed(text, fit) == "g = torch.autograd.grad(y, x, grad_outputs=v.reshape(y.shape))"
    assert line_changed("f(x).backward(v)  # here\n", fit) is None  # it would be computed twice
