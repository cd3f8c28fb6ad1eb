"""What is done with modules, and what a class keeps in attributes."""

from __future__ import annotations

from gradscope.repair.changes.attributes import computed_where_used, emptied_by_its_owner, kept_for_looking
from gradscope.repair.changes.functions import applied, summed
from gradscope.repair.changes.modules import counted_from_one, done_first, in_the_mode_of_self, values_taken_over
from tests.mending import changed, line_changed, place_in


def test_a_module_takes_values_and_stays() -> None:
    text = "class A:\n    def back(self):\n        self.net = self.best  # here\n"
    assert line_changed(text, values_taken_over()) == "self.net.load_state_dict(self.best.state_dict())"
    kept = (
        text.replace("  # here", "") + "    def keep(self, s):\n        self.best, self.s = copy(self.net), s  # here\n"
    )
    after = changed(kept, values_taken_over())
    assert after is not None
    assert "        self.net.load_state_dict(self.best.state_dict())\n" in after
    assert changed(text.replace("self.best", "make()"), values_taken_over()) is None


def test_a_module_made_in_forward_follows_the_mode() -> None:
    text = "class A:\n    def forward(me, x):\n        return nn.Dropout(0.3)(x)  # here\n"
    assert line_changed(text, in_the_mode_of_self(), "nn.Dropout(0.3)(x)") == (
        "return nn.Dropout(0.3).train(me.training)(x)"
    )
    assert line_changed(text, in_the_mode_of_self(), "nn.Dropout(0.3)") == (
        "return nn.Dropout(0.3).train(me.training)(x)"
    )
    assert line_changed(text.replace("forward", "draw"), in_the_mode_of_self(), "nn.Dropout(0.3)(x)") is None


ELSEWHERE = """\
from tools import toggle
def f(net):
    toggle(net, True)  # there

def g(net, x):
    '''Words.'''
    y = net(x)
    y.backward()  # here
"""


def test_what_is_done_elsewhere_is_done_first() -> None:
    first = done_first(place_in(ELSEWHERE, marker="# there"))
    assert changed(ELSEWHERE, first) == ELSEWHERE.replace("    y = net", "    toggle(net, True)\n    y = net")
    other = ELSEWHERE.replace("def g(net, x)", "def g(model, x)")
    assert changed(other, done_first(place_in(other, marker="# there"))) is None


def test_a_schedule_counts_from_one() -> None:
    text = "s = LambdaLR(opt, lambda n: min(1.0, n / 10))  # here\n"
    assert line_changed(text, counted_from_one()) == "s = LambdaLR(opt, lambda n: min(1.0, (n + 1) / 10))"
    assert line_changed("s = LambdaLR(opt, warm)  # here\n", counted_from_one()) is None


KEPT = """\
class GP(nn.Module):
    def __init__(self, x):
        self.x = x
        self.k = self.kernel(self.x) + 1  # here

    def loss(self):
        return (self.k @ self.x).sum()  # the loss
"""


def test_an_attribute_is_computed_where_it_is_used() -> None:
    after = changed(KEPT, computed_where_used())
    assert after is not None
    assert "return ((self.kernel(self.x) + 1) @ self.x).sum()  # the loss\n" in after
    assert "self.k =" not in after
    assert changed(KEPT.replace("kernel(self.x)", "kernel(x)"), computed_where_used()) is None
    assert changed(KEPT + "print(gp.k)\n", computed_where_used()) is None


def test_what_a_class_never_reads_is_kept_for_looking() -> None:
    text = "class A:\n    def f(self, x):\n        self.last = x + 1  # here\n        return x\n"
    assert line_changed(text, kept_for_looking()) == "self.last = (x + 1).detach()"
    assert line_changed(text.replace("return x", "return self.last"), kept_for_looking()) is None


SIM = """\
class Sim:
    def step(self, x):
        self.seen.append(x)  # here

    def cost(self):
        return sum(self.seen)


class Run:
    def go(self):
        self.sim.step(1)
        self.sim.cost().backward()  # there
        self.opt.step()
"""


def test_a_pile_is_emptied_by_way_of_its_owner() -> None:
    empty = emptied_by_its_owner("self.seen", place_in(SIM, marker="# there"))
    assert changed(SIM, empty) == SIM.replace("# there\n", "# there\n        self.sim.seen.clear()\n")
    two = SIM.replace("self.sim.step(1)", "self.sim.step(1); self.other.step(1); self.other.cost()")
    assert changed(two, emptied_by_its_owner("self.seen", place_in(two, marker="# there"))) is None


def test_a_function_is_applied_and_its_results_are_summed() -> None:
    assert line_changed("y = Round()(f(x))  # here\n", applied(), "Round()(f(x))") == "y = Round.apply(f(x))"
    assert line_changed("y = self.q(x)  # here\n", applied(), "self.q(x)") == "y = self.q.apply(x)"
    assert line_changed("g = grad(self.e)  # here\n", summed("grad")) == "g = grad(lambda *args: self.e(*args).sum())"
    assert line_changed("g = grad(lambda x: x * 2)  # here\n", summed("grad")) == "g = grad(lambda x: (x * 2).sum())"
