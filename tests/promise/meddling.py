"""`meddling.py CODE trace -q -o FILE SCRIPT` stands in for `gradscope trace`: it runs SCRIPT as gradscope does, records
nothing, and executes CODE when SCRIPT has ended. So the harness can be shown to see what CODE does.
"""

import sys

from gradscope.capture.run import script_runner


class Meddler:
    def __init__(self, code: str) -> None:
        self.code = code

    def start(self) -> None:
        pass

    def stop(self, error: BaseException | None, status: int) -> None:
        import os

        exec(self.code, {**globals(), "os": os, "kept": kept})


kept: list[object] = []  # what is to outlive the code

if __name__ == "__main__":
    sys.exit(script_runner.run_script(sys.argv[6], sys.argv[7:], Meddler(sys.argv[1])).status)
