from tests.judging import Judging, loud


def test_names_the_write_and_the_op_that_saved(judging: Judging) -> None:
    found = judging("""
        import torch
        x = torch.ones(3, requires_grad=True)
        y = torch.tanh(x)  # saves
        y.mul_(2)  # writes
        y.sum().backward()
    """)
    first = found[0]
    assert first.code == "GS101"
    assert judging.blames(first, "# writes")
    assert [place.line for place in first.related] == [judging.line("# saves"), judging.line("backward()")]
    assert "y was changed in place (mul_) after tanh saved it" in first.message


def test_silent_when_the_op_keeps_something_else(judging: Judging) -> None:
    assert not loud(
        judging("""
            import torch
            x = torch.ones(3, requires_grad=True)
            y = x + 1
            y.mul_(2)
            y.sum().backward()
        """)
    )
