"""What a block of a long file says of an instruction is what the whole file says."""

from __future__ import annotations

import ast
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, SimpleNamespace
from typing import Any

import pytest
import torch
from executing import Source

from gradscope.capture.sites.blocks import BlockSource

TORCH = Path(str(torch.__file__)).parent
ODD = '''\
import functools
{filler}
def deco(*_):
    return lambda f: f

try:
    first = 1
except (
    ValueError,
) as error:
    first = error
else:
    second = [
        x + 1
    for x in range(3)
]

@deco(
    1,
)
@deco(2)
class C:
    """A text
that is not indented
"""
    @deco(lambda x: x + 1)
    def method(self, a=3):
        def inner(b):
            return (b +
    a)
        text = """
no indentation"""
        return sorted((inner(b) for b in range(a)), key=lambda b: -b), text
# a comment
    # another

async def late(x):
    async with x as y:
        return await y

if first: third = {{
    "k": first,
}}; fourth = third["k"]
'''


def _codes(source: str, path: str) -> Iterator[CodeType]:
    waiting = [compile(source, path, "exec")]
    while waiting:
        code = waiting.pop()
        yield code
        waiting += [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _told(source: type[Source], place: Any) -> tuple[str, str] | None:
    node: Any = source.executing(place).node
    if node is None:
        return None
    around = node.parent
    return ast.dump(node, include_attributes=True), "" if isinstance(around, ast.If) else type(around).__name__


@pytest.mark.skipif(sys.version_info < (3, 11), reason="instructions have columns since Python 3.11")
@pytest.mark.parametrize("name", ["odd", "nn/modules/module", "optim/lr_scheduler", "nn/modules/activation"])
def test_a_block_says_what_the_whole_file_says(name: str, tmp_path: Path) -> None:
    path = TORCH / f"{name}.py"
    if name == "odd":
        path = tmp_path / "odd.py"
        path.write_text(ODD.format(filler="\n" * 300))
    chance, told = random.Random(name), 0
    for code in _codes(path.read_text(), str(path)):
        positions: list[Any] = [(2 * i, p[0]) for i, p in enumerate(code.co_positions()) if p[0]]  # type: ignore[attr-defined,unused-ignore]
        for lasti, line in chance.sample(positions, min(len(positions), 60 if name == "odd" else 2)):
            place = SimpleNamespace(f_code=code, f_lasti=lasti, f_lineno=line, f_globals={})
            wanted, seen = _told(Source, place), _told(BlockSource, place)
            if wanted is not None and seen is not None and not seen[1]:
                wanted = (wanted[0], "")  # an `if` stands for what is around the block
            assert seen == wanted, (code.co_name, line)
            told += seen is not None
    assert told > 30


@pytest.mark.skipif(sys.version_info < (3, 11), reason="instructions have columns since Python 3.11")
def test_of_a_long_file_only_the_function_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("def f(x):\n    y = x * 2\n    return y\n" + "def g(x):\n    return x\n" * 8_000)
    code = next(code for code in _codes(path.read_text(), str(path)) if code.co_name == "f")
    place: Any = SimpleNamespace(f_code=code, f_lasti=0, f_lineno=2, f_globals={})
    tree = BlockSource.for_frame(place).tree
    assert tree is not None
    assert len(list(ast.walk(tree))) < 30
