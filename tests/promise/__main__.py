"""Whether recording changes nothing: programs of each kind, plain and traced.

python -m tests.promise                    a sample of all kinds; its seed is printed
python -m tests.promise --all              everything
python -m tests.promise --all faults zoo   everything of these kinds
python -m tests.promise programs/gan       one program
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import environment, table
from .judging import Verdict, judge, sample
from .kinds import KINDS
from .program import Program
from .running import LOUD, QUIET


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.promise", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"kinds ({', '.join(KINDS)}) or single programs; default: all kinds")
    parser.add_argument("--all", action="store_true", help="all programs, each traced quietly and with its summary")
    parser.add_argument("--seed", type=int, help="of the sample")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at once (default 2)")
    parser.add_argument("--list", action="store_true", help="name the programs and run none")
    parser.add_argument("--readme", metavar="FILE", type=Path, help="write the table as README has it")
    chosen = parser.parse_args()
    programs = list(wanted(chosen.what))
    if chosen.list:
        print(*(program.id for program in programs), sep="\n")
        return 0
    if any(program.kind == "frameworks" for program in programs):
        environment.make()
    single = any("/" in name for name in chosen.what)
    todo: Sequence[tuple[Program, tuple[str, ...]]] = [(program, (QUIET, LOUD)) for program in programs]
    if not (chosen.all or single):
        seed = chosen.seed if chosen.seed is not None else random.SystemRandom().randrange(10**6)
        print(f"seed {seed}")
        todo = sample(programs, seed)
    verdicts = list(run_all(todo, chosen.jobs))
    print(table.plain(verdicts))
    if chosen.readme is not None:
        chosen.readme.write_text(table.markdown(verdicts) + "\n", encoding="utf-8")
    return int(not all(verdict.right for verdict in verdicts))


def wanted(names: Sequence[str]) -> Iterator[Program]:
    for name in names or KINDS:
        kind, _, one = name.partition("/")
        if kind not in KINDS:
            raise SystemExit(f"there is no kind {kind}; there are {', '.join(KINDS)}")
        found = [program for program in KINDS[kind]() if not one or program.name == one]
        if not found:
            raise SystemExit(f"there is no program {name}")
        yield from found


def run_all(todo: Sequence[tuple[Program, tuple[str, ...]]], jobs: int) -> Iterable[Verdict]:
    begun = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        for number, verdict in enumerate(pool.map(lambda one: judge(*one), todo), 1):
            word = (
                "as expected, differs"
                if verdict.expected and not verdict.held
                else "held"
                if verdict.right
                else "FAILED"
            )
            print(f"[{time.monotonic() - begun:5.0f} s] {number}/{len(todo)} {word}: {verdict.program.id}", flush=True)
            if not verdict.right:
                print(verdict.told(), flush=True)
            yield verdict


if __name__ == "__main__":
    sys.exit(main())
