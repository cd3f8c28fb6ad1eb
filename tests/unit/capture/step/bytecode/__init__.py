"""How several Pythons compile some loops, as tables: `python tests/unit/capture/step/bytecode/__init__.py` writes one.

A table has each function's jumps, ends and targets of jumps, as [offset, name, target, line in the function].
"""

from __future__ import annotations

import dis
import json
import sys
from pathlib import Path
from types import CodeType
from typing import Any

Table = list[tuple[int, str, "int | None", int]]

SOURCES = {
    "no loop": """
def f():
    with autocast():
        loss = model()
    try:
        loss.backward()
    except RuntimeError:
        pass
    step()
""",
    "a with in a loop": """
def f():
    for batch in data:
        with autocast():
            loss = model(batch)
        loss.backward()
        step()
    evaluate()
""",
    "a try in a loop": """
def f():
    for batch in data:
        try:
            loss = model(batch)
        except RuntimeError:
            print()
        loss.backward()
        try:
            step()
        finally:
            zero_grad()
    evaluate()
""",
    "loops in loops": """
def f():
    for epoch in epochs:
        for batch in data:
            with autocast():
                losses = [model(one) for one in batch]
            sum(losses).backward()
        while more():
            with autocast(), other():
                if step():
                    continue
                if done():
                    break
    evaluate()
""",
    "a loop in a handler": """
def f():
    try:
        step()
    except RuntimeError:
        for batch in data:
            step(batch)
    evaluate()
""",
    "async": """
async def f():
    await start()
    async with session():
        await load()
    async for batch in data:
        with autocast():
            step(batch)
""",
}


def compiled(source: str) -> CodeType:
    names: dict[str, Any] = {}
    exec(source, names)
    code: CodeType = names["f"].__code__
    return code


def table(code: CodeType) -> Table:
    jumps = {*dis.hasjrel, *dis.hasjabs}
    lines = {}
    for start, end, line in code.co_lines():
        lines.update(dict.fromkeys(range(start, end), (line or code.co_firstlineno) - code.co_firstlineno))
    all_ = [(at.offset, at.opname, at.argval if at.opcode in jumps else None) for at in dis.get_instructions(code)]
    targets = {target for _, _, target in all_}
    return [
        (offset, name, target, lines[offset])
        for offset, name, target in all_
        if target is not None or offset in targets or name.startswith(("RETURN_", "RAISE_", "RERAISE"))
    ]


if __name__ == "__main__":
    text = json.dumps({name: table(compiled(source)) for name, source in SOURCES.items()})
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    Path(__file__).with_name(f"{version}.json").write_text(text.replace("]], ", "]],\n") + "\n")
