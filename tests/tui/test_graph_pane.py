"""The lane view, driven through scenes, keys and the mouse."""

from __future__ import annotations

from gradscope.model.findings import Finding, Severity
from gradscope.model.graph import GraphKind, NodeKind
from gradscope.model.records import Detail
from gradscope.tui.messages import Notice, Select, Travel
from gradscope.tui.widgets.graph import GraphPane
from tests.builders import ab2_trace, cut_trace, deep_trace, gan_trace, inplace_trace, mlp_trace, move_trace
from tests.tui.hosting import Stage, host
from tests.tui.test_picture import blocks_trace


def moment_of(stage: Stage, name: str) -> int:
    """The moment at which the node called so is reached."""
    node = next(node for node in stage.scene.graph.nodes if name in (node.name, node.label))
    assert node.moment is not None
    return node.moment


def test_one_node_a_row_with_lanes_names_and_grad_fns() -> None:
    async def walk(stage: Stage) -> None:
        assert all(line.startswith("·") for line in stage.lines()[:5]), "nothing was reached yet"
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        rows = [line.split() for line in stage.lines()[:5]]
        assert [row[:2] for row in rows[:2]] == [["●", "A"], ["│", "●"]]
        assert rows[2][:3] == ["○─╯", "F", "MulBackward0"]
        assert rows[3][:2] == ["○", "G"]

    host(GraphPane(), ab2_trace(), walk)


def test_the_backward_lights_up_with_its_norms_as_it_runs() -> None:
    async def walk(stage: Stage) -> None:
        last = len(stage.scene.step.moments) - 1
        await stage.go(kind=GraphKind.BACKWARD, moment=moment_of(stage, "MulBackward0"))
        assert "|g|" not in stage.line("AccumulateGrad")
        now = [line for line in stage.lines() if "▸" in line]
        assert len(now) == 1
        assert "|g| 1" in now[0]
        await stage.go(moment=last)
        assert "|g| 40" in stage.line("A   ") or "|g| 40" in stage.line(" A ")
        assert "|g| 20" in stage.line(" B ")

    host(GraphPane(), ab2_trace(), walk)


def test_a_leafs_gradient_is_none_until_the_backward_fills_it() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=moment_of(stage, "G"))
        assert "|g| None" in stage.line("● A") or stage.scene.state.tensors[0].has_grad is None
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert "|g| 40" in stage.line("● A")

    host(GraphPane(), ab2_trace(), walk)


def test_keys_select_rows_and_enter_travels_there() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "down", "down")
        chosen = stage.scene.selected
        assert chosen is not None
        assert stage.scene.graph.by_id[chosen].name == "F"
        await stage.press("enter")
        assert stage.host.told(Travel)[-1].moment == stage.scene.graph.by_id[chosen].moment
        await stage.press("ctrl+end")
        assert stage.pane.cursor == stage.pane.count - 1
        await stage.press("ctrl+home", "up")
        assert stage.pane.cursor == 0

    host(GraphPane(), ab2_trace(), walk)


def test_a_click_selects_a_double_click_travels_the_wheel_scrolls() -> None:
    async def walk(stage: Stage) -> None:
        await stage.pilot.click("#pane", offset=(6, 2))
        await stage.settle()
        assert stage.pane.cursor == 2
        await stage.pilot.click("#pane", offset=(6, 2), times=2)
        await stage.settle()
        assert stage.host.told(Travel)
        top = stage.pane.scroll_offset.y
        await stage.pilot._post_mouse_events([_wheel()], "#pane", offset=(5, 3), button=0)
        await stage.settle()
        assert stage.pane.scroll_offset.y > top

    host(GraphPane(), mlp_trace(), walk, size=(60, 8), step=1)


def _wheel() -> type:
    from textual.events import MouseScrollDown

    return MouseScrollDown


def test_modules_fold_and_unfold() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(
            kind=GraphKind.FORWARD,
            selected=next(node.id for node in stage.scene.graph.nodes if node.name == "fc1.weight"),
        )
        before = stage.pane.count
        await stage.press("m")
        assert stage.pane.count < before
        assert "fc1" in stage.line("≡")
        assert "nodes" in stage.line("≡")
        await stage.press("enter")
        assert stage.pane.count == before
        await stage.press("M")
        folded = stage.pane.count
        assert folded < before
        await stage.press("M")
        assert stage.pane.count == before

    host(GraphPane(), mlp_trace(), walk, step=1)


def test_a_folded_run_of_equal_blocks_opens_and_closes() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(selected=next(node.id for node in stage.scene.graph.nodes if node.module == "h.3"))
        await stage.press("M", "equals_sign")
        assert "≡ h " in stage.text()
        await stage.press("m")
        assert [node.label for node in stage.pane.picture.nodes if node.kind is NodeKind.MODULE] == ["h.0–4"] * 2
        assert "≡ 0–4 ×5" in stage.text()
        folded = stage.pane.count
        await stage.press("m")
        assert stage.pane.count > folded
        assert stage.pane.picture.nodes[stage.pane.cursor].module == "h.0"
        await stage.press("m")
        assert stage.pane.count == folded

    host(GraphPane(), blocks_trace(5), walk)


def test_a_grad_node_of_two_backwards_lights_up_in_both() -> None:
    async def walk(stage: Stage) -> None:
        node = next(one for one in stage.scene.graph.nodes if "ran 2 times" in one.notes)
        assert node.name == "D.0.weight"
        runs = stage.pane.picture.reach.runs[node.id]
        for run in runs:
            await stage.go(moment=run)
            assert "AccumulateGrad" in stage.line("▸")
            assert "D.0.weight" in stage.line("▸")
        assert len(runs) == 2

    host(GraphPane(), gan_trace(), walk, kind=GraphKind.BACKWARD)


def test_a_node_outside_modules_cannot_fold() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "m")
        assert "no module" in stage.host.told(Notice)[-1].text

    host(GraphPane(), ab2_trace(), walk)


def test_search_finds_by_name_op_and_mark() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("slash", *"fc2.w")
        selected = stage.scene.selected
        assert selected is not None
        assert stage.scene.graph.by_id[selected].name == "fc2.weight"
        await stage.press("enter", "n")
        assert stage.scene.graph.by_id[stage.scene.selected or 0].name == "fc2.weight"
        first = stage.scene.selected
        await stage.press("N")
        assert stage.scene.selected != first
        await stage.press("escape", "slash", *"nosuch", "enter")
        assert "no node has 'nosuch'" in stage.host.told(Notice)[-1].text

    host(GraphPane(), mlp_trace(), walk, step=1)


def test_search_selects_what_lies_in_a_folded_module() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("M", "slash", *"fc2.weight")
        assert stage.pane.picture.nodes[stage.pane.cursor].name == "fc2"
        assert stage.scene.graph.by_id[stage.scene.selected].name == "fc2.weight", "what an inspector shows"
        await stage.press("enter")
        assert stage.pane.picture.nodes[stage.pane.cursor].name == "fc2.weight", "it is unfolded to"

    host(GraphPane(), mlp_trace(), walk, step=1, kind=GraphKind.FORWARD)


def test_focus_on_what_led_here_and_what_follows() -> None:
    async def walk(stage: Stage) -> None:
        names = lambda: {node.name for node in stage.pane.picture.nodes}  # noqa: E731
        hidden = next(node.id for node in stage.scene.graph.nodes if node.name == "h")
        await stage.go(selected=hidden)
        await stage.press("a")
        assert "fc1.weight" in names()
        assert "fc2.weight" not in names()
        assert "what led here" in stage.pane.border_subtitle
        await stage.press("escape", "z")
        assert {"h", "logits", "loss"} <= names()
        assert "fc1.weight" not in names()
        await stage.press("escape")
        assert "fc1.weight" in names()
        assert "fc2.weight" in names()

    host(GraphPane(), mlp_trace(), walk, step=1, kind=GraphKind.FORWARD)


def test_the_paths_between_two_nodes_either_way_round() -> None:
    async def walk(stage: Stage) -> None:
        ids = {node.name: node.id for node in stage.scene.graph.nodes if node.name}
        await stage.go(selected=ids["loss"])
        await stage.press("p")
        await stage.go(selected=ids["fc1.weight"])
        await stage.press("p")
        names = {node.name for node in stage.pane.picture.nodes}
        assert {"fc1.weight", "h", "logits", "loss"} <= names
        assert "fc2.weight" not in names
        await stage.press("escape")
        await stage.go(selected=ids["fc1.weight"])
        await stage.press("p")
        await stage.go(selected=ids["fc2.weight"])
        await stage.press("p")
        assert "no path" in stage.host.told(Notice)[-1].text

    host(GraphPane(), mlp_trace(), walk, step=1, kind=GraphKind.FORWARD)


def test_from_a_tensor_to_its_grad_fn_and_back() -> None:
    async def walk(stage: Stage) -> None:
        tensor = next(node.id for node in stage.scene.graph.nodes if node.name == "F")
        await stage.go(selected=tensor)
        await stage.press("t")
        assert stage.scene.graph.by_id[stage.scene.selected or 0].label == "MulBackward0"
        await stage.press("t")
        assert stage.scene.selected == tensor

    host(GraphPane(), ab2_trace(), walk)


def test_marks_are_told_by_sign_from_the_moment_they_hold() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=moment_of(stage, "y"))
        assert "≠" not in stage.text()
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert "≠" in stage.text()
        assert "‼" in stage.text()

    host(GraphPane(), inplace_trace(), walk)


def test_moves_and_cuts_have_signs() -> None:
    async def moved(stage: Stage) -> None:
        assert "►" in stage.line("a_cuda")

    async def cut(stage: Stage) -> None:
        assert "¬" in stage.line(" d ")

    host(GraphPane(), move_trace(), moved)
    host(GraphPane(), cut_trace(), cut, kind=GraphKind.BOTH)


def test_findings_are_named_on_their_nodes() -> None:
    finding = Finding("GS101", "saved-tensor-modified", Severity.ERROR, "y was changed", 0.9, step=0, nodes=(1,))

    async def walk(stage: Stage) -> None:
        await stage.go(findings=(finding,))
        assert "GS101" in stage.line("y ")

    host(GraphPane(), inplace_trace(), walk)


def test_ascii_shows_nothing_else() -> None:
    async def walk(stage: Stage) -> None:
        await stage.go(moment=len(stage.scene.step.moments) - 1)
        assert stage.text().isascii()
        assert "* A" in stage.text()

    host(GraphPane(), ab2_trace(), walk, ascii=True)


def test_a_graph_without_nodes_is_an_empty_pane() -> None:
    async def walk(stage: Stage) -> None:
        await stage.press("down", "enter", "m", "M", "a", "p", "t", "n", "slash", "x", "escape")
        assert stage.pane.count == 0

    from gradscope.model.records import StepKind
    from tests.builders import TraceBuilder

    empty = TraceBuilder("")
    empty.step(0, StepKind.OTHER).done()
    host(GraphPane(), empty.trace(), walk)


def test_a_deep_graph_is_made_apart_and_only_its_visible_rows_are_drawn() -> None:
    drawn: list[int] = []

    class Counting(GraphPane):
        def strip_of(self, row: int, width: int):  # type: ignore[no-untyped-def]
            drawn.append(row)
            return super().strip_of(row, width)

    async def walk(stage: Stage) -> None:
        assert stage.pane.count < 10, "what a loop repeats opens as one row for each of its ops"
        await stage.press("equals_sign")
        assert stage.pane.count == len(stage.scene.graph.nodes)
        drawn.clear()
        await stage.press("ctrl+end", "up", "pageup")
        assert drawn
        assert len(set(drawn)) < 200
        assert stage.host.told(Select)

    host(Counting(), deep_trace(4_000, detail=Detail.GRAPH), walk)


def test_stepping_through_a_folded_loop_is_seen_and_it_unfolds_to_its_own_node() -> None:
    trace = deep_trace(1_000, detail=Detail.GRAPH)

    async def walk(stage: Stage) -> None:
        seen = []
        for moment in (100, 101, 102):
            await stage.go(moment=moment)
            (now,) = [line for line in stage.lines() if line.startswith("▸") and "×" in line]
            seen.append(now.split()[-1])
        turns = [int(part.split("/")[0]) for part in seen]
        assert turns == [turns[0], turns[0] + 1, turns[0] + 2]
        assert len({part.split("/")[1] for part in seen}) == 1
        last = len(stage.scene.step.moments) - 1
        await stage.go(moment=last)
        assert not [line for line in stage.lines() if "/" in line], "all of it was reached"
        await stage.go(moment=100)
        await stage.press("m")
        assert stage.pane.count == len(stage.scene.graph.nodes)

    host(GraphPane(), trace, walk)


def test_the_cursor_stays_on_its_node_when_the_kind_changes() -> None:
    async def walk(stage: Stage) -> None:
        ids = {node.name: node.id for node in stage.scene.graph.nodes if node.name}
        await stage.go(selected=ids["G"])
        row = stage.pane.cursor
        await stage.go(kind=GraphKind.FORWARD)
        assert stage.pane.picture.nodes[stage.pane.cursor].name == "G"
        assert row is not None

    host(GraphPane(), ab2_trace(), walk)
