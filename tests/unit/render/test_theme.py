from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest

from gradscope.errors import UnknownName
from gradscope.model.graph import EdgeKind
from gradscope.options import ViewOptions
from gradscope.render.registry import render
from gradscope.render.theme import THEMES, Theme, in_the_dark, legend, theme
from gradscope.render.view import GraphView
from gradscope.render.words import BADGES, Role
from tests.builders import ab2_trace
from tests.unit.render import graphs

BOTH_THEMES = pytest.mark.parametrize("look", THEMES.values(), ids=THEMES)


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@BOTH_THEMES
def test_text_stands_out_from_what_it_is_on(look: Theme) -> None:
    assert contrast(look.ink, look.paper) >= 7
    assert contrast(look.muted, look.paper) >= 4.5
    for role, style in look.nodes.items():
        assert contrast(style.ink, style.fill) >= 7, role
        assert contrast(style.line, style.fill) >= 3.9, role  # the role's sign and name
        assert contrast(look.muted, style.fill) >= 4.5, role
    for fill in look.cluster_fills:
        assert contrast(look.ink, fill) >= 7
        assert contrast(look.muted, fill) >= 4.5


@BOTH_THEMES
def test_lines_stand_out_from_the_paper(look: Theme) -> None:
    for fill in (look.paper, *look.cluster_fills):
        for role, style in look.nodes.items():
            assert contrast(style.line, fill) >= 3, role
        for kind, edge in look.edges.items():
            assert contrast(edge.line, fill) >= 3, kind
        for mark, badge in look.badges.items():
            assert contrast(badge.line, fill) >= 3, mark


@BOTH_THEMES
def test_no_two_roles_are_told_apart_by_colour_alone(look: Theme) -> None:
    for one, other in combinations(look.nodes.values(), 2):
        assert one.sign != other.sign
        assert (one.border, one.corner) != (other.border, other.corner)
        assert one.fill != other.fill
    assert len({(edge.border, edge.head) for edge in look.edges.values()}) == len(EdgeKind)
    assert len({badge.sign for badge in look.badges.values()}) == len(BADGES)


def test_both_themes_mean_the_same_by_the_same_form() -> None:
    light, dark = THEMES["light"], THEMES["dark"]
    for role in Role:
        one, other = light.nodes[role], dark.nodes[role]
        assert (one.border, one.corner, one.sign) == (other.border, other.corner, other.sign)


def test_the_legend_has_what_is_in_the_picture_and_nothing_else() -> None:
    words = [entry.word for entry in legend(GraphView(graphs.ab2("forward")), THEMES["light"])]
    assert words == ["leaf", "non-leaf", "op", "data"]
    words = [entry.word for entry in legend(GraphView(graphs.frozen()), THEMES["light"])]
    assert {"frozen parameter", "NaN", "changed in place", "gradient cut here"} <= set(words)


def test_the_legend_tells_what_the_numbers_on_gradients_are() -> None:
    words = [entry.word for entry in legend(GraphView(ab2_trace().step(0).graph("backward")), THEMES["light"])]
    assert "gradient (a number is its value)" in words
    graph = graphs.ab2("backward")
    normed = replace(graph, edges=tuple(replace(edge, label="|g| 2") for edge in graph.edges))
    words = [entry.word for entry in legend(GraphView(normed), THEMES["light"])]
    assert "gradient (|g| its norm)" in words


def test_an_unknown_theme_names_the_known_ones() -> None:
    with pytest.raises(UnknownName, match="did you mean 'dark'"):
        theme("drak")


def test_a_picture_is_dark_where_its_page_is_unless_a_theme_was_asked_for() -> None:
    picture = render(graphs.frozen(), "svg").decode()
    dark = picture[picture.index("@media (prefers-color-scheme: dark)") : picture.index("</style>")]
    used = set(re.findall(r' (?:fill|stroke)="(#[0-9a-f]{6})"', picture[picture.index("</style>") :]))
    assert used
    assert used <= set(re.findall(r'="(#[0-9a-f]{6})"]', dark)), "no colour of the light page is left in the dark"
    for asked in THEMES:
        assert "prefers-color-scheme" not in render(graphs.frozen(), "svg", ViewOptions(theme=asked)).decode()


def test_each_light_colour_has_one_dark_one() -> None:
    for light, dark in zip(THEMES["light"].nodes.values(), THEMES["dark"].nodes.values(), strict=True):
        assert [in_the_dark()[one.lower()] for one in (light.fill, light.line, light.ink)] == [
            *(dark.fill, dark.line, dark.ink)
        ]
    assert in_the_dark()[THEMES["light"].paper.lower()] == THEMES["dark"].paper


@pytest.mark.parametrize("format", ["svg", "text"])
def test_the_legend_can_be_left_out(format: str) -> None:
    graph = graphs.ab2()
    shown, hidden = (render(graph, format, ViewOptions(legend=on)).decode() for on in (True, False))
    said = "tensor – its grad_fn" if format == "svg" else "∑ AccumulateGrad   "
    assert said in shown
    assert said not in hidden
    assert "MulBackward0" in hidden
