"""What `gradscope` exits with. `trace` exits with the script's own status instead."""

DONE = 0
FOUND = 1  # findings or differences
USAGE = 2  # wrong usage or bad input: one clear line on stderr
INTERNAL = 3  # a fault of ours: the details are in a file
INTERRUPTED = 130  # Ctrl-C, as shells show it


class ScriptInterrupted(Exception):
    """A traced script ended by Ctrl-C, which it has reported; `python` would now die of SIGINT."""
