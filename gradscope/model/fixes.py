"""`Fix`: one way to mend what was found, as a patch of the source where code can say it, and how it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Edit:
    """Lines of a file that become others: `old` are as they stand from `line` on, without their ends.

    Without `old`, the new ones come in front of `line`.
    """

    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """A change of one file of the user's. `sha256` is that of the file it is for; `edits` are in order, apart."""

    file: str
    sha256: str
    edits: tuple[Edit, ...]

    def line_after(self, line: int) -> int:
        """Where a line of the file is once the patch is applied; of one that it changes, the line in its place."""
        moved = line
        for edit in self.edits:
            if line < edit.line:
                break
            inside = line < edit.line + len(edit.old)
            gone = min(line - edit.line, max(0, len(edit.new) - 1)) - (line - edit.line)
            moved += gone if inside else len(edit.new) - len(edit.old)
        return moved

    def diff(self) -> str:
        """The changed lines as a unified diff without context."""
        lines, shift = [f"--- {self.file}", f"+++ {self.file}"], 0
        for edit in self.edits:
            old, new = _span(edit.line, len(edit.old)), _span(edit.line + shift, len(edit.new))
            lines += [f"@@ -{old} +{new} @@", *(f"-{line}" for line in edit.old), *(f"+{line}" for line in edit.new)]
            shift += len(edit.new) - len(edit.old)
        return "".join(f"{line}\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Trial:
    """What happened when the script ran with a patch. `gone`: the finding that it is for was not made again.

    `ran`: it ended as a script that is right does. `outcome` says how it ended; `others` are the errors and warnings
    that were not there before; `stopped` the parameters that trained before, or were to by the loss that failed, and do
    not; `untrained` those that an optimizer has and that still get no gradient; `spoilt`: whether numbers became NaN
    or Inf.
    """

    outcome: str
    ran: bool
    gone: bool
    others: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    spoilt: bool = False

    @property
    def mends(self) -> bool:
        """Whether it does away with the finding and stops nothing, whatever else is found then."""
        return self.ran and self.gone and not self.stopped and not self.spoilt

    @property
    def works(self) -> bool:
        """Whether the patch does what a fix is to do, and no harm that could be seen."""
        return self.mends and not self.others


@dataclass(frozen=True, slots=True)
class Fix:
    """One way to mend what was found. `meaning` is what it does to the training.

    `patch` is the same as a change of the source, where code can say it. `verified`: whether it was tried and works;
    None while nobody tried. `trial` tells of that.
    """

    words: str
    meaning: str = ""
    patch: Patch | None = None
    verified: bool | None = None
    trial: Trial | None = None

    @property
    def code(self) -> str:
        """The line that it makes; "" where it makes none or several."""
        edits = self.patch.edits if self.patch is not None else ()
        return edits[0].new[0].strip() if len(edits) == 1 and len(edits[0].new) == 1 else ""

    def tried(self, trial: Trial) -> Fix:
        """The same with how the trial went."""
        return replace(self, verified=trial.works, trial=trial)


def _span(line: int, count: int) -> str:
    """A hunk's lines as a diff names them: an empty one by the line before it."""
    return f"{line if count else line - 1},{count}"


def said(fixes: Sequence[Fix], otherwise: str) -> str:
    """What to do, in one line: the best fix with its code, where that is one line; else `otherwise`."""
    return f"{fixes[0].words}: {fixes[0].code}" if fixes and fixes[0].code else otherwise
