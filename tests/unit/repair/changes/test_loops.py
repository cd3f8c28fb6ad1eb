"""What is added up over a loop, done after it, or done once more beside it."""

from __future__ import annotations

from gradscope.repair.changes.loops import accumulated, after_its_loop, buffers_copied, into_the_loop
from tests.mending import changed, place_in

HEADS = """\
def losses(out, target):
{}    for name in out:
        total = weights[name] * f(
            out[name])  # here
    return total  # there
"""


def test_what_a_loop_forgets_is_added_up() -> None:
    text = HEADS.format("")
    after = text.replace("    for", "    total = 0.0\n    for", 1).replace("= weights", "= total + weights")
    assert changed(text, accumulated(place_in(text, marker="# there"))) == after
    begun = HEADS.format("    total = torch.zeros(())\n")
    assert changed(begun, accumulated(None)) == begun.replace("= weights", "= total + weights")


def test_nothing_is_added_up_in_the_loop_that_uses_it() -> None:
    text = "for x in data:\n    loss = f(x)  # here\n    loss.backward()  # there\n"
    assert changed(text, accumulated(place_in(text, marker="# there"))) is None
    assert changed("for x in data:\n    loss = loss * f(x)  # here\n", accumulated(None)) is None
    assert changed("for x in data:\n    def g():\n        loss = 1  # here\n", accumulated(None)) is None


def test_a_call_goes_behind_its_loop_and_not_out_of_the_last() -> None:
    text = "for epoch in range(3):\n\tfor x in data:\n\t\ttrain(x)\n\t\tself.sched.step()  # here\n\tlog()\n"
    assert changed(text, after_its_loop()) == (
        "for epoch in range(3):\n\tfor x in data:\n\t\ttrain(x)\n\t\t# here\n\tself.sched.step()\n\tlog()\n"
    )
    assert changed("for x in data:\n    train(x)\n    sched.step()  # here\n", after_its_loop()) is None
    assert changed(text.replace("step()", "step(x)"), after_its_loop()) is None


def test_buffers_follow_where_parameters_do() -> None:
    text = (
        "def update(self):\n    for e, m in zip(self.ema.parameters(), self.net.parameters()):  # both\n"
        "        e.mul_(0.9).add_(m, alpha=0.1)  # here\n    return 1\n"
    )
    assert changed(text, buffers_copied()) == text.replace(
        "    return",
        "    for e, m in zip(self.ema.buffers(), self.net.buffers()):\n        e.copy_(m)\n    return",
    )
    assert changed(text.replace("self.net.parameters()", "values"), buffers_copied()) is None


def test_what_is_made_before_a_loop_is_made_in_each_turn() -> None:
    text = (
        "def fit(net, data):\n    users, items = net()  # here\n    total = 0\n    for x in data:\n"
        "        loss = f(users, items, x)\n        loss.backward()  # there\n"
    )
    inside = into_the_loop(place_in(text, marker="# there"))
    assert changed(text, inside) == text.replace("users, items = net()  # here", "# here").replace(
        "        loss =", "        users, items = net()\n        loss ="
    )
    used = text.replace("total = 0", "total = users.sum()")
    assert changed(used, into_the_loop(place_in(used, marker="# there"))) is None
