"""`python -m tests.bench [--quick] [--row NAME …]` prints the speed table of README. It asserts no time."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict

from .measure import ROWS, Row
from .table import machine, markdown


def in_a_child(name: str, quick: bool) -> Row:
    """One row, measured in a process of its own so that rows cannot warm or slow each other."""
    command = [sys.executable, "-m", "tests.bench", "--child", name, *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        return Row(name, f"failed with exit status {done.returncode}", "", "")
    return Row(**json.loads(done.stdout.splitlines()[-1]))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts: seconds instead of minutes, rough numbers")
    parser.add_argument("--row", action="append", choices=sorted(ROWS), help="only this row; may be repeated")
    parser.add_argument("--child", choices=sorted(ROWS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(asdict(ROWS[options.child](options.quick))))
        return 0
    rows = []
    for name in options.row or ROWS:
        rows.append(in_a_child(name, options.quick))
        print(f"{rows[-1].work}: {rows[-1].measured}", file=sys.stderr)
    print(markdown(rows, machine()))
    return int(any(row.measured.startswith("failed") for row in rows))


if __name__ == "__main__":
    raise SystemExit(main())
