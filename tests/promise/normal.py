"""The one rule for what differs between any two processes, whoever runs them: addresses, numbers of processes and
threads, times, random names. Each becomes a fixed word; nothing is left out.
"""

from __future__ import annotations

import re

_UNIT = r"(?:ns|us|µs|ms|s|sec|secs|seconds?|min|it/s|s/it|ms/step|steps/s|samples/s)"
RULES = [
    (re.compile(pattern), word)
    for pattern, word in (
        (r"\b0x[0-9a-fA-F]{6,}\b", "0xADDRESS"),
        (r"\[\d{12,}\]", "[ADDRESS]"),  # a key that is an object's id
        (r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?", "TIME"),
        (r"\b\d\d:\d\d:\d\d(?:[.,]\d+)?\b", "TIME"),
        (r"\b\d\d:\d\d<\d\d:\d\d", "TIME"),  # tqdm
        (rf"(?<![\w.])\d+(?:\.\d+)?(?:e-?\d+)? ?{_UNIT}\b(?!\()", "DURATION"),
        (r", +DURATION", ", DURATION"),  # tqdm fills up with spaces
        (r"('\w*(?:runtime|per_second)': )'[\d.e+-]+'", r"\1DURATION"),  # transformers
        (r"\btmp[a-z0-9_]{8}\b", "tmpNAME"),
        (r"\blistener-[a-z0-9_]{8}\b", "listener-NAME"),
        (r"\btorchelastic_[a-z0-9_]{8}(/[\w-]+_[a-z0-9_]{8})?", "torchelastic_NAME"),
        (r"(?<![0-9a-f])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f])", "UUID"),
        (r"\bgradscope-[a-z0-9_]{8}\b", "gradscope-NAME"),
        (r"\b(pymp|psm)[-_][a-z0-9_]{8,}\b", r"\1-NAME"),
        (r"\btorch_\d+_\d+(?:_\d+)?\b", "torch_NAME"),  # shared memory
        (r"(?<=[A-Za-z])_[a-z0-9_]{8}(\.\w+)\b", r"_NAME\1"),  # a temporary file with a name before and after
        (r"\b(pid|process|PID|Process)([ =:#]+)\d+", r"\1\2NUMBER"),
        (r"(127\.0\.0\.1|localhost):\d{4,5}", r"\1:PORT"),
        (r"(MASTER_PORT', ')\d+", r"\1PORT"),
        # Frames of the import system, which show where a loader of the tests' own is among them.
        (r'(?m)^ *File "(?:<frozen importlib|.*/watch/sitecustomize\.py).*\n(?:    .*\n)*', ""),
        (r"\b[WEI]\d{4} TIME (PROCESS|\d+)", "LOG"),
        (r"(Thread-)\d+", r"\1NUMBER"),
        (r"(ForkPoolWorker-|SpawnPoolWorker-|SpawnProcess-|ForkProcess-)\d+", r"\1NUMBER"),
    )
]
TRACEBACK = re.compile(r"^Traceback \(most recent call last\):\n(?:(?:[ \t].*)?\n)*", re.M)


def normal(text: str, process: int | None = None) -> str:
    """`text` with its processes' numbers, times and random names replaced."""
    if process is not None:
        text = re.sub(rf"(?<![\w.]){process}(?!\w|\.\d)", "PROCESS", text)
    for pattern, word in RULES:
        text = pattern.sub(word, text)
    return text


def struck(text: str) -> str:
    """For an exception that comes at any moment: where it struck is left out of its traceback, not that it struck."""
    return TRACEBACK.sub("Traceback (most recent call last):\n  WHERE\n", text)
