"""The guard around what the recorder reads: unseen, and whatever fails in it is a note in the trace."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

from gradscope.capture.journal.guard import Guard


class Seeing(TorchFunctionMode):
    """A mode of the script's that counts the calls it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        self.seen += 1
        return func(*args, **kwargs or {})


Notes = list[tuple[str, str]]


@pytest.fixture
def notes() -> Notes:
    return []


def guard(notes: Notes) -> Guard:
    return Guard(lambda what, error: notes.append((what, str(error))), "a fact")


def test_nothing_of_the_scripts_sees_what_is_read(notes: Notes) -> None:
    with Seeing() as mode:
        with guard(notes):
            torch.ones(2) * 2
        assert mode.seen == 0
        torch.ones(2) * 2
        assert mode.seen == 2
    assert notes == []


def test_what_fails_is_noted_and_the_script_goes_on_and_is_seen_again(notes: Notes) -> None:
    with Seeing() as mode:
        with guard(notes):
            raise ValueError("broken")
        torch.ones(2) * 2
        assert mode.seen == 2
    assert notes == [("a fact", "broken")]


def test_what_ends_a_program_is_no_fault(notes: Notes) -> None:
    with Seeing() as mode:
        with pytest.raises(KeyboardInterrupt), guard(notes):
            raise KeyboardInterrupt
        torch.ones(2) * 2
        assert mode.seen == 2
    assert notes == []


def test_an_error_that_is_not_ours_goes_on_as_it_was_raised() -> None:
    def refuse(_what: str, error: Exception) -> None:
        raise error

    error = TimeoutError("the script's watchdog")
    with pytest.raises(TimeoutError) as caught, Guard(refuse, "a fact"):
        raise error
    assert caught.value is error


def test_a_block_that_gives_a_value_gives_it(notes: Notes) -> None:
    def read(broken: bool) -> int | None:
        with guard(notes):
            return 1 // (not broken)
        return None

    assert (read(broken=False), read(broken=True)) == (1, None)
    assert len(notes) == 1
