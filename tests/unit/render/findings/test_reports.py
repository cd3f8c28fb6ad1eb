"""Findings as text, JSON, SARIF and GitHub annotations; each against its published form."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import jsonschema
import pytest

from gradscope.errors import UnknownName
from gradscope.model.findings import Finding, Place, Severity, findings_from_json
from gradscope.model.fixes import Edit, Fix, Patch, Trial
from gradscope.render.findings import FORMATS, Look, one, report
from gradscope.render.findings.trial import went
from tests.scripts import ROOT

OURS = json.loads(resources.files("gradscope.render.findings").joinpath("findings.schema.json").read_text())
SARIF = json.loads((ROOT / "tests" / "data" / "sarif-schema-2.1.0.json").read_text(encoding="utf-8"))
PATCH = Patch("train.py", "0", (Edit(3, ("z = y.mul_(2) + 1",), ("z = y.mul(2) + 1",)),))
FOUND = [
    Finding(
        code="GS101",
        name="saved-tensor-modified",
        severity=Severity.ERROR,
        message="y was changed in place after pow saved it",
        confidence=0.99,
        step=3,
        culprit=Place("train.py", 3, "z = y.mul_(2) + 1", "", "y.mul_(2)"),
        related=(Place("lib/net.py", 7, "p = y ** 2", "saved here"),),
        explanation="pow needs y as it was: 100% of it.",
        fix="z = y * 2 + 1",
        nodes=(1, 2),
        fixes=(
            Fix("make a new tensor", "the old one stays", PATCH).tried(Trial("it ran to its end", ran=True, gone=True)),
            Fix("another", "", Patch("train.py", "0", (Edit(24, (), ("y = 1",)),))),
            Fix("a third", "", PATCH).tried(Trial("it failed with E", ran=False, gone=False, stopped=("w",))),
        ),
    ),
    Finding(
        code="GS000",
        name="check-failed",
        severity=Severity.NOTE,
        message="a check failed, \x1b[31mred\x1b[0m\nand more",
        confidence=0.5,
        no_place="this is a fault of gradscope",
    ),
]


@pytest.mark.parametrize("form", FORMATS)
def test_nothing_found_is_a_valid_report(form: str) -> None:
    text = report("train.py", [], form, Look())
    if form == "json":
        assert json.loads(text)["findings"] == []
    elif form == "sarif":
        jsonschema.validate(json.loads(text), SARIF)
    else:
        assert text == {"text": "train.py: nothing found\n", "github": ""}[form]


def test_an_unknown_format_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'sarif'"):
        report("train.py", [], "sarf", Look())


def test_json_is_what_its_schema_says_and_reads_back() -> None:
    data = json.loads(report("train.py", FOUND, "json", Look()))
    jsonschema.validate(data, OURS)
    assert findings_from_json(data) == ("train.py", FOUND)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**data, "findings": [{**data["findings"][0], "culprit": None}]}, OURS)


def test_sarif_is_what_the_standard_says() -> None:
    titles = {"GS101": "A saved tensor was changed."}
    log = json.loads(report("train.py", FOUND, "sarif", Look(), titles))
    jsonschema.validate(log, SARIF)
    first, second = log["runs"][0]["results"]
    assert (first["ruleId"], first["level"]) == ("GS101", "error")
    region = first["locations"][0]["physicalLocation"]
    assert (region["artifactLocation"]["uri"], region["region"]["startLine"]) == ("train.py", 3)
    assert first["relatedLocations"][0]["message"]["text"] == "saved here"
    assert "Fix: z = y * 2 + 1" in first["message"]["text"]
    assert second["level"] == "note"
    assert "locations" not in second
    rules = log["runs"][0]["tool"]["driver"]["rules"]
    assert [rules[one["ruleIndex"]]["id"] for one in (first, second)] == ["GS101", "GS000"]
    assert rules[0]["shortDescription"] == {"text": "A saved tensor was changed."}
    assert "shortDescription" not in rules[1], "a name said twice tells nothing"


@pytest.mark.parametrize(("file", "uri"), [("a b/ü.py", "a%20b/%C3%BC.py"), ("/x/y z.py", "file:///x/y%20z.py")])
def test_sarif_quotes_paths(file: str, uri: str) -> None:
    odd = Finding("GS101", "n", Severity.ERROR, "m", 0.9, culprit=Place(file, 1, "x"))
    log = json.loads(report("t", [odd], "sarif", Look()))
    place = log["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == uri


def test_github_commands_are_one_line_each_and_escaped() -> None:
    lines = report("train.py", FOUND, "github", Look()).splitlines()
    assert lines[0].startswith("::error file=train.py,line=3,title=GS101 saved-tensor-modified::y was changed")
    assert "100%25 of it.%0AFix: z = y * 2 + 1%0Alib/net.py:7 saved here" in lines[0]
    assert lines[1].startswith("::notice title=GS000 check-failed::")
    assert len(lines) == 2
    comma = Finding("GS101", "n", Severity.WARNING, "m", 0.9, culprit=Place("a,b:c.py", 1, "x"))
    assert report("t", [comma], "github", Look()).startswith("::warning file=a%2Cb%3Ac.py,line=1,")


def test_text_shows_the_line_a_caret_the_reason_and_the_fix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("x = 1\ny = x\n    z = y.mul_(2) + 1\n")
    text = report("train.py", FOUND, "text", Look(width=80))
    assert text.splitlines()[:7] == [
        "train.py:3: error GS101 saved-tensor-modified (step 3)",
        "  y was changed in place after pow saved it",
        "    1 │ x = 1",
        "    2 │ y = x",
        "  ▶ 3 │     z = y.mul_(2) + 1",
        "      │         ^^^^^^^^^",
        "  lib/net.py:7 (saved here)",
    ]
    assert "  why: pow needs y as it was: 100% of it." in text
    assert "  fix: z = y * 2 + 1" in text
    assert "no line of yours: this is a fault of gradscope" in text
    assert text.endswith("train.py: 1 error, 1 note; `gradscope explain GS101` tells more\n")


def test_the_lines_of_a_patch_are_whole_however_narrow_the_terminal_is() -> None:
    old, new = f"loss = {'x + ' * 30}x", f"loss = ({'x + ' * 30}x).mean()"
    fix = Fix("take the mean", patch=Patch("train.py", "", (Edit(3, (old,), (new,)),)))
    lines = report("train.py", [replace(FOUND[0], fixes=(fix,))], "text", Look(width=40)).splitlines()
    assert f"    3 - {old}" in lines
    assert f"      + {new}" in lines
    assert max(len(line) for line in lines if old not in line and new not in line) <= 40


def test_text_never_passes_control_characters_on() -> None:
    text = report("a\x1b[2Jb.py", FOUND, "text", Look())
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)


def test_a_file_that_changed_since_shows_the_recorded_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text("one\ntwo\nthree\n")
    text = report("train.py", FOUND[:1], "text", Look())
    assert "three" not in text
    assert "▶ 3 │ z = y.mul_(2) + 1" in text


@pytest.mark.parametrize("width", [1, 40, 79, 200])
def test_text_fits_the_terminal(width: int) -> None:
    text = report("train.py", FOUND, "text", Look(width=width, ascii=True))
    assert max(map(len, text.splitlines())) <= max(width, 40)
    assert text.isascii()


def test_a_long_line_is_cut_around_its_call() -> None:
    code = "value = " + " + ".join(f"first_{n}" for n in range(20)) + " + wrong(x) + " + "last" * 20
    long = Finding("GS101", "n", Severity.ERROR, "m", 0.9, culprit=Place("gone.py", 7, code, "", "wrong(x)"))
    lines = report("t", [long], "text", Look(width=60)).splitlines()
    shown = next(line for line in lines if "▶" in line)
    carets = lines[lines.index(shown) + 1]
    assert len(shown) <= 60
    assert "…" in shown
    assert shown[carets.index("^") : carets.rindex("^") + 1] == "wrong(x)"


def test_colours_only_where_they_show() -> None:
    assert "\x1b[" in report("train.py", FOUND, "text", Look(colour=True))
    assert "\x1b[" not in report("train.py", FOUND, "text", Look(colour=False))


def test_a_patch_is_shown_with_what_it_means_and_how_it_was_tried() -> None:
    text = one(FOUND[0], Look(width=100))
    assert "patch: make a new tensor (the old one stays): tried, it works\n    3 - z = y.mul_(2) + 1" in text
    assert "\n      + z = y.mul(2) + 1" in text
    assert "or: another\n    24 + y = 1" in text
    assert "or: a third: tried, it does not work: it failed with E; not trained with it: w" in text
    assert text.count("- z = y.mul_(2)") == 1


def test_sarif_has_the_patches_that_did_not_fail() -> None:
    log = json.loads(report("train.py", FOUND, "sarif", Look()))
    first, second = log["runs"][0]["results"]
    assert [fix["description"]["text"] for fix in first["fixes"]] == [
        "make a new tensor (the old one stays): tried, it works",
        "another",
    ]
    (change,) = first["fixes"][0]["artifactChanges"]
    (replacement,) = change["replacements"]
    assert replacement["deletedRegion"] == {"startLine": 3, "startColumn": 1, "endLine": 4, "endColumn": 1}
    assert replacement["insertedContent"]["text"] == "z = y.mul(2) + 1\n"
    assert "fixes" not in second


def test_a_trial_that_shows_other_faults_is_no_failure_of_the_patch() -> None:
    trial = Trial("it ran to its end", ran=True, gone=True, others=("GS204 zero-derivative",))
    assert not trial.works
    assert went(trial) == "tried, it ran to its end and the finding is gone, but 1 other came: GS204 zero-derivative"
