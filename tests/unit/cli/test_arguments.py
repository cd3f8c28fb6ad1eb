"""Options come from the fields of `gradscope.options`; what follows the script is the script's."""

from __future__ import annotations

import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.cli.arguments import Parser, add_options, at_least, chosen, one_of, span, split_script
from gradscope.cli.commands import graph, trace
from gradscope.errors import UnknownName, UsageError
from gradscope.options import CaptureOptions, ViewOptions, option_fields


def trace_parser() -> Parser:
    parser = Parser(prog="gradscope trace")
    trace.configure(parser)
    return parser


@pytest.mark.parametrize("options", [CaptureOptions, ViewOptions])
def test_every_field_is_an_option_with_its_help(options: type[CaptureOptions] | type[ViewOptions]) -> None:
    parser = Parser(prog="x")
    add_options(parser, options)
    shown = parser.format_help().replace("\n", " ")
    for field in option_fields(options).values():
        assert field.metadata["flag"] in shown
    assert options(**chosen(parser.parse_args([]), options)) == options(), "the defaults are the fields'"


def test_chosen_values_have_the_fields_types() -> None:
    parser = Parser(prog="x")
    graph.configure(parser)
    line = "t.gradscope --step 3 --kind forward --depth 0 --focus h --theme dark --engine dot --expand a b --expand c"
    assert ViewOptions(**chosen(parser.parse_args(line.split()), ViewOptions)) == ViewOptions(
        3, "forward", 0, ("a", "b", "c"), "h", "dark", "dot"
    )
    values = chosen(trace_parser().parse_args(["--detail", "full", "--steps", "2:", "--every", "3"]), CaptureOptions)
    assert CaptureOptions(**values) == CaptureOptions("full", (2, None), 3, None)


@pytest.mark.parametrize(
    ("text", "bounds"), [("2:5", (2, 5)), (":5", (None, 5)), ("2:", (2, None)), (":", (None, None)), ("0:1", (0, 1))]
)
def test_span(text: str, bounds: tuple[int | None, int | None]) -> None:
    assert span(text) == bounds


@pytest.mark.parametrize("text", ["", "3", "a:b", "-1:3", "3:-1", "1:2:3", "1.5:2"])
def test_span_refuses(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not a range of steps"):
        span(text)


@pytest.mark.parametrize("text", ["3:3", "4:3"])
def test_span_refuses_an_empty_range(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="B must be greater than A"):
        span(text)


def test_numbers_and_names() -> None:
    assert at_least(1)("7") == 7
    for text in ("0", "x", "1.0", ""):
        with pytest.raises(argparse.ArgumentTypeError):
            at_least(1)(text)
    with pytest.raises(UnknownName, match="did you mean 'dark'"):
        one_of("theme", ["light", "dark"])("drak")


def test_a_wrong_option_is_a_usage_error_on_one_line() -> None:
    with pytest.raises(UsageError, match=r"try: gradscope trace --help") as caught:
        trace_parser().parse_args(["--nothing\nelse"])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("line", "ours", "script"),
    [
        ("train.py", "", "train.py"),
        ("train.py --quiet -o x", "", "train.py --quiet -o x"),
        ("--quiet train.py --quiet", "--quiet", "train.py --quiet"),
        ("-o x --steps 1:2 train.py -m y", "-o x --steps 1:2", "train.py -m y"),
        ("--output=x train.py", "--output=x", "train.py"),
        ("-ox train.py", "-ox", "train.py"),
        ("-q -m pkg.mod -q", "-q", "-m pkg.mod -q"),
        ("-mpkg -q", "", "-mpkg -q"),
        ("-q -- -odd.py -- -x", "-q", "-odd.py -- -x"),
        ("-", "", "-"),
        ("", "", ""),
        ("--quiet", "--quiet", ""),
        ("-o", "-o", ""),
        ("--help", "--help", ""),
    ],
)
def test_options_after_the_script_are_the_scripts(line: str, ours: str, script: str) -> None:
    assert split_script(trace_parser(), line.split()) == (ours.split(), script.split())


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=5), max_size=6))
def test_nothing_of_the_scripts_arguments_is_lost(arguments: list[str]) -> None:
    ours, script = split_script(trace_parser(), ["--quiet", "s.py", *arguments])
    assert (ours, script) == (["--quiet"], ["s.py", *arguments])


def test_a_module_and_its_arguments() -> None:
    for line in ("-q -m pkg.mod a -q", "-q -mpkg.mod a -q"):
        namespace = trace.parse(trace_parser(), line.split())
        assert (namespace.module, namespace.script, namespace.arguments) == ("pkg.mod", "pkg.mod", ["a", "-q"])
        assert namespace.quiet
