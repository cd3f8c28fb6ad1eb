"""Blocks that move, and closures."""

from __future__ import annotations

from gradscope.repair.changes.blocks import (
    after_own,
    before_own,
    closed_over,
    followed_by_own,
    given_closure,
    made_inside,
)
from tests.mending import changed, place_in

AMP = """\
def fit(self, batches):
    for i, x in enumerate(batches):
        self.scaler.scale(f(x)).backward()
        self.scaler.unscale_(self.opt)  # here
        clip_grad_norm_(self.net.parameters(), 1.0)  # all of them
        if i % 2:
            self.scaler.step(self.opt)  # there
            self.opt.zero_grad()
"""


def test_a_call_moves_with_those_that_follow_it() -> None:
    move = before_own("step", along=("clip_grad_norm_",))
    after = changed(AMP, move)
    assert after is not None
    assert after.endswith(
        "        if i % 2:\n            self.scaler.unscale_(self.opt)\n"
        "            clip_grad_norm_(self.net.parameters(), 1.0)\n            self.scaler.step(self.opt)  # there\n"
        "            self.opt.zero_grad()\n"
    )
    assert changed(AMP.replace("self.scaler.step", "other.step"), move) is None
    assert changed(AMP + "    self.scaler.step(self.opt)\n", move) is None  # which of them?


def test_a_call_moves_behind_its_sibling_or_gets_one() -> None:
    text = "for x in y:\n    s.update()  # here\n    s.step(opt)  # there\n    log()\n"
    after = "for x in y:\n    # here\n    s.step(opt)  # there\n    s.update()\n    log()\n"
    assert changed(text, after_own("step")) == after
    text = "for x in y:\n    self.s.step(opt)  # here\n    {}\n"
    assert changed(text.format("log()"), followed_by_own("update")) == (
        "for x in y:\n    self.s.step(opt)  # here\n    self.s.update()\n    log()\n"
    )
    assert changed(text.format("if z: self.s.update()"), followed_by_own("update")) is None


FIT = """\
def fit(opt, net, x, y):
    for epoch in range(3):
        opt.zero_grad()
        out = net(x)
        loss = mse(out, y)  # the fit
        loss.backward()
        opt.step()  # here
        print(loss.item(){})
"""


def test_an_evaluation_becomes_a_closure() -> None:
    assert changed(FIT.format(""), closed_over()) == (
        "def fit(opt, net, x, y):\n    for epoch in range(3):\n        # the fit\n        def closure():\n"
        "            opt.zero_grad()\n            out = net(x)\n            loss = mse(out, y)\n"
        "            loss.backward()\n            return loss\n        loss = opt.step(closure)  # here\n"
        "        print(loss.item())\n"
    )


def test_no_closure_of_what_is_needed_after_it_or_is_no_evaluation() -> None:
    assert changed(FIT.format(", out"), closed_over()) is None
    assert changed(FIT.format("").replace("opt.zero_grad()", "log()"), closed_over()) is None
    assert changed(FIT.format("").replace("def fit", "def closure(): pass\ndef fit"), closed_over()) is not None
    assert changed(FIT.format("").replace("    for", "    closure = 1\n    for"), closed_over()) is None


def test_a_closure_that_is_there_is_given() -> None:
    text = (
        "def run():\n    opt.zero_grad()\n    loss = f()\n    loss.backward()\n    return loss\n\nopt.step()  # here\n"
    )
    assert changed(text, given_closure()) == text.replace("opt.step()", "opt.step(run)")
    assert changed(text.replace("    return loss\n", ""), given_closure()) is None
    assert changed(text.replace("def run()", "def run(x)"), given_closure()) is None


def test_what_only_a_closure_needs_is_made_in_it() -> None:
    text = (
        "for x in data:\n    out = net(x)  # here\n    def closure():\n        opt.zero_grad()\n"
        "        loss = mse(out, y)  # there\n        loss.backward()\n        return loss\n    opt.step(closure)\n"
    )
    inside = made_inside(place_in(text, marker="# there"))
    assert changed(text, inside) == text.replace("    out = net(x)  # here\n    def", "    # here\n    def").replace(
        "        loss = mse", "        out = net(x)\n        loss = mse"
    )
    used = text.replace("opt.step(closure)", "opt.step(closure); log(out)")
    assert changed(used, made_inside(place_in(used, marker="# there"))) is None
