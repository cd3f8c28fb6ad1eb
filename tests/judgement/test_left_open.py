"""What no check explains, and what was not recorded, is said."""

from __future__ import annotations

from gradscope.model.findings import Severity
from tests.judging import Judging


def test_an_exception_that_nothing_explains_is_a_finding(judging: Judging) -> None:
    (found,) = judging("import torch\nx = torch.ones(2)\nraise ValueError('mine')  # here\n")
    assert (found.code, found.severity) == ("GS001", Severity.ERROR)
    assert judging.blames(found, "# here")
    assert "ValueError: mine" in found.message


def test_an_exception_without_a_message_is_only_named_and_an_interruption_is_no_finding(judging: Judging) -> None:
    (found,) = judging("import torch\nx = torch.ones(2)\nraise StopIteration\n")
    assert found.message == "the script failed with StopIteration"
    assert not judging("import torch\nx = torch.ones(2)\nraise KeyboardInterrupt\n")


def test_a_recording_of_steps_only_says_that_little_was_judged(judging: Judging) -> None:
    script = "import torch\nx = torch.ones(2, requires_grad=True)\nx.sum().backward()\n"
    assert [one.code for one in judging(script, detail="steps")] == ["GS002"]
    assert not judging(script)


def test_training_in_another_thread_is_told_of(judging: Judging) -> None:
    (found,) = judging("""
        import threading
        import torch
        net = torch.nn.Linear(2, 1)
        opt = torch.optim.SGD(net.parameters(), lr=0.1)
        def work():
            for _ in range(3):
                opt.zero_grad()
                net(torch.ones(1, 2)).sum().backward()
                opt.step()
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    """)
    assert (found.code, found.severity) == ("GS002", Severity.NOTE)
    assert "training in another thread" in found.message
