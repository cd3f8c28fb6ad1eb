"""Statements that come, go, move, or run under `torch.no_grad()`."""

from __future__ import annotations

from gradscope.model.findings import Place
from gradscope.repair.changes.heads import decorated, unguarded, unwrapped, without_grad
from gradscope.repair.changes.statements import (
    before_its_loop,
    built_before,
    built_before_use,
    emptied,
    group_added,
    inserted,
    moved,
    removed,
    removed_call,
    switched,
)
from tests.mending import changed, place_in

LOOP = """\
import torch
def train(model, opt, data):
    for x in data:
        loss = model(x).mean()  # a loss
        loss.backward()  # here
        opt.step()  # update
"""


def there(text: str, marker: str) -> Place:
    return place_in(text, marker=marker)


def test_a_statement_comes_before_or_after_with_the_indentation_of_its_neighbour() -> None:
    assert changed(LOOP, inserted("opt.zero_grad()", before=True)) == LOOP.replace(
        "        loss.backward", "        opt.zero_grad()\n        loss.backward"
    )
    assert changed(LOOP, inserted("opt.zero_grad()", before=False)) == LOOP.replace(
        "# here\n", "# here\n        opt.zero_grad()\n"
    )


def test_no_statement_with_a_name_that_is_not_known_there() -> None:
    assert changed(LOOP, inserted("optimizer.zero_grad()", before=True)) is None
    nested = "def f():\n    opt = make()\n    def g(loss):\n        loss.backward()  # here\n    return g\n"
    assert changed(nested, inserted("opt.zero_grad()", before=True)) is not None
    later = "def f(loss):\n    loss.backward()  # here\n    opt = make()\n"
    assert changed(later, inserted("opt.zero_grad()", before=True)) is None


def test_statements_of_one_line_stay_on_one_line() -> None:
    text = "for x in y: loss = f(x); loss.backward()  # here\n"
    assert changed("opt = 1\n" + text, inserted("opt.step()", before=False), "loss.backward()") == (
        "opt = 1\nfor x in y: loss = f(x); loss.backward(); opt.step()  # here\n"
    )
    assert changed("opt = 1\n" + text, inserted("opt.zero_grad()", before=True), "loss.backward()") == (
        "opt = 1\nfor x in y: loss = f(x); opt.zero_grad(); loss.backward()  # here\n"
    )


def test_a_statement_moves_within_its_loop() -> None:
    early = LOOP.replace("  # here", "  # b").replace("loss.backward()", "X").replace("opt.step()  # update", "Y")
    text = early.replace("X", "opt.step()").replace("  # b", "  # here").replace("Y", "loss.backward()  # b")
    after = changed(text, moved(there(text, "# b"), before=False))
    assert after == early.replace("X  # b", "# here").replace("Y", "loss.backward()  # b") + "        opt.step()\n"


def test_nothing_moves_past_what_needs_it_or_out_of_its_loop() -> None:
    text = "def f(m, d):\n    opt = make(m)  # here\n    s = sched(opt)\n    m.head = new()  # there\n"
    assert changed(text, moved(there(text, "# there"), before=False)) is None
    text = "def f(m, d):\n    opt = make(m)  # here\n    for x in d:\n        m.grow()  # there\n        opt.step()\n"
    assert changed(text, moved(there(text, "# there"), before=False)) is None


def test_a_removed_statement_leaves_a_body_and_the_comment() -> None:
    assert changed("if a:\n    f()  # here\ng()\n", removed()) == "if a:\n    pass  # here\ng()\n"
    assert changed("a = 1; f(); b = 2  # here\n", removed(), "f()") == "a = 1; b = 2  # here\n"
    assert changed("a = 1; f()  # here\n", removed(), "f()") == "a = 1  # here\n"


def test_only_the_call_that_is_meant_is_removed() -> None:
    text = "a = 1\ntorch.set_grad_enabled(False)  # here\n"
    assert changed(text, removed_call("set_grad_enabled")) == "a = 1\n# here\n"
    assert changed(text, removed_call("manual_seed")) is None


def test_what_is_built_in_a_loop_is_built_before_it() -> None:
    text = "def f(m, lr):\n    for x in d:\n        opt = make(m, lr)  # here\n        opt.step()\n"
    assert changed(text, before_its_loop()) == (
        "def f(m, lr):\n    opt = make(m, lr)\n    for x in d:\n        # here\n        opt.step()\n"
    )
    assert changed(text.replace("make(m, lr)", "make(m, x)"), before_its_loop()) is None


def test_a_write_runs_without_recording_but_a_value_keeps_its_gradient() -> None:
    text = "import torch as th\nclass M:\n\tdef f(self):\n\t\tself.w *= 2  # here\n"
    assert changed(text, without_grad(writes_only=True)) == text.replace(
        "\t\tself.w *= 2", "\t\twith th.no_grad():\n\t\t\tself.w *= 2"
    )
    assert changed("import torch\nw = act(p)  # here\n", without_grad(writes_only=True)) is None
    assert changed("p.mul_(2)  # here\n", without_grad()) is None  # the file does not know torch
    text = 'import torch\nf("""a\nb""")  # here\n'
    assert changed(text, without_grad()) is None  # the text would change


def test_a_block_or_decorator_that_switches_gradients_off_is_left_out() -> None:
    text = (
        "def f(self, x):\n    with torch.no_grad():  # here\n        # features\n        y = g(x)\n\n        return y\n"
    )
    assert changed(text, unwrapped()) == "def f(self, x):\n    # features\n    y = g(x)\n\n    return y\n"
    text = "@other\n@torch.no_grad()  # here\ndef f(x):\n    return x\n"
    assert changed(text, unwrapped()) == "@other\ndef f(x):\n    return x\n"
    text = "with a, torch.no_grad():  # here\n    f()\n"
    assert changed(text, unwrapped()) is None


def test_a_function_gets_a_decorator_above_those_that_it_has() -> None:
    text = "import torch\n@timed\ndef evaluate(m, x):\n    return m(x)  # here\n"
    assert changed(text, decorated("no_grad()")) == text.replace("@timed", "@torch.no_grad()\n@timed")


CHAIN = """\
def f(m, W, d):
    x = one_hot(d)
    y = x @ W
    loss = y.mean()
    for k in d:
        W.grad = None
        loss.backward()  # here
        print(x)
"""


def test_what_a_loss_is_made_of_goes_into_the_loop_with_it() -> None:
    after = changed(CHAIN, built_before("loss"))
    assert after is not None
    assert after == CHAIN.replace("    y = x @ W\n    loss = y.mean()\n", "").replace(
        "        loss.backward", "        y = x @ W\n        loss = y.mean()\n        loss.backward"
    )


def test_a_loss_is_computed_after_the_update_only_if_all_its_graph_is() -> None:
    text = """\
def f(a, b, net, opt):
    h = net(a)
    first = h.mean()
    second = net(b).sum()
    first.backward()
    opt.step()  # update
    second.backward()  # here
"""
    update, through = there(text, "# update"), Place("a.py", 4, "second = net(b).sum()")
    after = changed(text, built_before_use("second", update, through))
    assert after is not None
    assert "    opt.step()  # update\n    second = net(b).sum()\n    second.backward()" in after
    assert changed(text, built_before_use("second", update, Place("a.py", 2, "h = net(a)"))) is None


def test_a_container_is_emptied_by_its_name_there() -> None:
    text = "def f(policy, loss):\n    x = sum(policy.saved)\n    loss.backward()  # here\n"
    assert changed(text, emptied("self.saved")) == text + "    policy.saved.clear()\n"


def test_a_model_is_switched_where_it_is_called() -> None:
    text = "def f(net, x):\n    y = net(x)  # here\n    return y\n"
    assert changed(text, switched(("eval", "train")), "net(x)") == (
        "def f(net, x):\n    net.eval()\n    y = net(x)  # here\n    net.train()\n    return y\n"
    )
    assert changed(text.replace("net(x)", "nets[0](x)"), switched(("eval",)), "nets[0](x)") is None


def test_an_optimizer_is_given_a_module_and_nothing_else() -> None:
    text = "def f(net, opt, epoch):\n    thaw(net.backbone)  # here\n"
    added = group_added("opt", ["net.backbone.0.weight"])
    assert changed(text, added) == text + '    opt.add_param_group({"params": net.backbone.parameters()})\n'
    assert changed(text.replace("thaw(net.backbone)", "cb.before(epoch)"), added) is None
    text = "def f(net, opt):\n    layer = net.grow()  # here\n"
    assert changed(text, added) == text + '    opt.add_param_group({"params": layer.parameters()})\n'


def test_what_runs_the_first_time_only_runs_each_time() -> None:
    text = (
        "def f(self, x):\n    if (self.kept is None\n            or x):  # once\n"
        "        b = g(x)\n        self.kept = b * 2  # here\n    return self.kept\n"
    )
    mended = "def f(self, x):\n    b = g(x)\n    self.kept = b * 2  # here\n    return self.kept\n"
    assert changed(text, unguarded()) == mended
    for other in ("x.kept is None", "self.training"):
        assert changed(text.replace("self.kept is None", other), unguarded()) is None  # not about what is made there
    assert changed(text.replace("    return", "    else:\n        pass\n    return"), unguarded()) is None
    assert changed("if kept is None: kept = g()  # here\n", unguarded()) is None
    chosen = "def f(y):\n    if y:\n        pass\n    elif k is None:\n        k = 2  # here\n"
    assert changed(chosen, unguarded()) is None
