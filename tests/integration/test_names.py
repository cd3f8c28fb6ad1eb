"""Scripts with several models: every reader says whose parameter it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import gradscope
from gradscope.api import expect_gradients
from gradscope.errors import FindingsError
from gradscope.model.moments import OptimizerStep
from gradscope.store import open_trace
from gradscope.tui.inspection.sheet import sheet
from gradscope.tui.subject import Subject
from gradscope.tui.words import moment_words
from tests.capturing import record_script
from tests.scripts import Ran, ScriptServer, run
from tests.unit.tui.scenes import scene_of

GAN = """\
import torch
from torch import nn
torch.manual_seed(0)
G = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
D = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
spare = nn.Linear(2, 1)
to_train = torch.optim.Adam([*D.parameters(), *spare.parameters()])
never = torch.optim.Adam(spare.parameters())
real, ones, zeros = torch.randn(16, 2), torch.ones(16, 1), torch.zeros(16, 1)
loss_fn = nn.BCEWithLogitsLoss()
for step in range(3):
    fake = G(torch.randn(16, 4))
    d_loss = loss_fn(D(real), ones) + loss_fn(D(fake.detach()), zeros) + spare(real).mean()
    to_train.zero_grad()
    d_loss.backward()
    to_train.step()
    g_loss = loss_fn(D(fake), ones)
    g_loss.backward()
"""
NAMELESS = """\
import torch
from torch import nn
torch.manual_seed(0)
nets = [nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)) for _ in range(3)]
optimizer = torch.optim.SGD([p for net in nets[:0:-1] for p in net.parameters()], lr=0.1)
x = torch.randn(8, 4)
for step in range(3):
    loss = sum(net(x).pow(2).mean() for net in nets)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""


@pytest.fixture(scope="module")
def folder(server: ScriptServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both scripts and their traces."""
    folder = tmp_path_factory.mktemp("models")
    for name, text in (("gan", GAN), ("nets", NAMELESS)):
        (folder / f"{name}.py").write_text(text)
        assert server.traced("--detail", "full", f"{name}.py", folder=folder).status == 0
    return folder


def gradscope_in(folder: Path, *arguments: str) -> Ran:
    return run(["-m", "gradscope", *arguments], folder)


def test_findings_say_whose_parameters_they_mean(folder: Path) -> None:
    done = gradscope_in(folder, "check", "gan.gradscope", "--format", "json")
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "GS601"]
    assert found["message"].startswith("G.0.weight, G.0.bias, G.2.weight and 1 more: a backward gives them gradients")
    done = gradscope_in(folder, "check", "nets.gradscope", "--format", "json")
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["code"] == "GS601"]
    assert found["message"].startswith("net.0.weight, net.0.bias, net.2.weight and 1 more")


def test_models_made_in_a_list_are_numbered_in_the_order_they_run(folder: Path) -> None:
    """The optimizer met them the other way round, and the first one not at all."""
    with open_trace(folder / "nets.gradscope") as trace:
        assert {one.root for one in trace.parameters()} == {"net", "net (2)", "net (3)"}
        for step in (trace.step(number) for number in trace.steps):
            graph = step.graph("forward")
            inside = {node.name: node.module for node in graph.nodes if node.role == "parameter"}
            assert len(inside) == 12
            assert all((name or "").rpartition(".")[0] == module for name, module in inside.items())
            for edge in graph.edges:
                source, target = graph.by_id[edge.source], graph.by_id[edge.target]
                assert source.role != "parameter" or source.module == target.module, "who reads it has it"


def test_pictures_say_whose_parameters_they_show(folder: Path) -> None:
    done = gradscope_in(folder, "graph", "gan.gradscope", "--step", "1", "--kind", "backward")
    for name in ("G.0.weight", "G.2.bias", "D.0.weight", "D.2.bias", "fills weight.grad"):
        assert name in done.stdout
    assert "fills 0.weight.grad" not in done.stdout
    done = gradscope_in(folder, "graph", "gan.gradscope", "--step", "1", "-o", "gan.json")
    graph = json.loads((folder / "gan.json").read_text())
    names = [node["name"] for node in graph["nodes"] if node.get("role") == "parameter"]
    assert len(names) == len(set(names)) == 10
    assert {"G", "G.0", "D", "D.0", "spare"} <= graph["modules"].keys()


def test_the_inspector_says_whose_optimizer_and_learning_rate_it_tells(folder: Path) -> None:
    with open_trace(folder / "gan.gradscope") as trace:
        start = sheet(scene_of(trace, 1), Subject())
        rates = [fact.text for section in start.sections for fact in section.facts if fact.label == "lr"]
        assert rates == ["0.001 (to_train, group 0)"]
        step = trace.step(1)
        spare = next(tensor.number for tensor in step.tensors if tensor.name == "weight")
        told = sheet(scene_of(trace, 1), Subject(tensor=spare))
        owners = [fact.text for section in told.sections for fact in section.facts if fact.label == "optimizer"]
        assert owners == ["to_train (Adam), never (Adam)"]
        (update,) = (index for index, moment in enumerate(step.moments) if isinstance(moment, OptimizerStep))
        assert moment_words(step, update).startswith("to_train.step() updates D.0.weight, D.0.bias")


def test_a_step_with_two_backwards_has_every_node_once(folder: Path) -> None:
    with open_trace(folder / "gan.gradscope") as trace:
        step = trace.step(1)
        assert len(step.graphs) == 2
        for kind in ("both", "backward"):
            graph = step.graph(kind)
            filled = [node.name for node in graph.nodes if node.label == "AccumulateGrad"]
            assert len(filled) == len(set(filled)) == 10
            twice = {node.name for node in graph.nodes if "ran 2 times" in node.notes}
            assert twice == {"D.0.weight", "D.0.bias", "D.2.weight", "D.2.bias"}


@pytest.mark.parametrize("option", ["--focus", "--expand"])
def test_a_name_that_two_models_have_is_one_line_that_names_both(folder: Path, option: str) -> None:
    for name in ("0.weight", "0")[option == "--expand" :]:
        done = gradscope_in(folder, "graph", "gan.gradscope", option, name)
        assert (done.status, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert done.stderr.endswith(f"name G.{name} or D.{name}\n")
    assert gradscope_in(folder, "graph", "gan.gradscope", option, "D.0").status == 0


def test_a_name_that_one_model_has_may_be_said_in_short(folder: Path) -> None:
    short, long = (
        gradscope_in(folder, "graph", "gan.gradscope", "--focus", name) for name in ("weight", "spare.weight")
    )
    assert (short.status, short.stdout) == (0, long.stdout)


def test_the_export_says_whose_parameters_it_has(folder: Path) -> None:
    done = gradscope_in(folder, "export", "nets.gradscope", "-")
    parameters = json.loads(done.stdout)["parameters"]
    assert len({one["name"] for one in parameters}) == 12
    assert all(one["name"].startswith(f"{one['root']}.") for one in parameters)


def test_a_live_picture_tells_the_callers_models_apart() -> None:
    G, D, alone = nn.Linear(2, 2), nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 1))
    same = G
    graph = gradscope.draw(alone(D(same(torch.ones(1, 2)))).sum()).graph
    assert {node.name for node in graph.nodes if node.is_leaf and node.requires_grad} == {
        *("G.weight", "G.bias", "D.weight", "D.bias", "0.weight", "0.bias")
    }


def test_parameters_to_ignore_are_named_with_their_model_or_without() -> None:
    used, unused = nn.Sequential(nn.Linear(1, 1)), nn.Sequential(nn.Linear(1, 1))
    with gradscope.record() as trace:
        unused(torch.ones(1, 1))
        used(torch.ones(1, 1)).sum().backward()
    with pytest.raises(FindingsError, match=r"no gradient: unused\.0\.weight, unused\.0\.bias$"):
        expect_gradients(trace)
    expect_gradients(trace, ignore=["unused.*"])
    expect_gradients(trace, ignore=["0.*"])


@pytest.mark.parametrize(
    ("made", "pair", "names"),
    [
        ("teacher = Net()\nstudent = Net()", "teacher, student", {"teacher", "student"}),
        ("teacher, student = Net(), Net()", "teacher, student", {"teacher", "student"}),
        (
            "class Pair: pass\npair = Pair()\npair.old, pair.new = Net(), Net()",
            "pair.old, pair.new",
            {"pair.old", "pair.new"},
        ),
        ("import copy\nteacher = Net()\nstudent = copy.deepcopy(teacher)", "teacher, student", {"teacher", "net"}),
        ("both = [Net() for _ in range(2)]\nteacher, student = both", "both", {"net", "net (2)"}),
        ("def make(): return Net()\nteacher = make()\nstudent = make()", "teacher, student", {"teacher", "student"}),
        ("net = Net()\nother = Net()", "net, other", {"net", "other"}),
    ],
)
def test_models_that_one_function_calls_go_by_their_own_variables(
    made: str, pair: str, names: set[str], tmp_path: Path
) -> None:
    (tmp_path / "train.py").write_text(f"""\
import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = torch.nn.Linear(4, 2)
    def forward(self, x):
        return self.fc(x)
def run(net, x): return net(x)
{made}
one, two = {pair}
optimizer = torch.optim.SGD(two.parameters(), lr=0.1)
for step in range(3):
    x = torch.randn(5, 4)
    with torch.no_grad():
        target = run(one, x)
    optimizer.zero_grad()
    (run(two, x) - target).square().mean().backward()
    optimizer.step()
""")
    recorded = record_script(tmp_path / "train.py")
    assert recorded.namespace["__error__"] is None
    assert {one.root for one in recorded.trace.parameters()} == names


def test_what_no_op_reads_belongs_to_the_model_that_has_it(tmp_path: Path) -> None:
    """Both models are called by one line, and have parameters that were made after both."""
    script = tmp_path / "train.py"
    script.write_text(
        """import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 1)
    def forward(self, x):
        return self.fc(x)
def run(model, x):
    return model(x)
teacher, student = Net(), Net()
teacher.spare, student.spare = nn.Linear(4, 1), nn.Linear(4, 1)
student.spare.bias.requires_grad_(False)
optimizer = torch.optim.SGD([student.spare.weight, *teacher.spare.parameters(), *student.fc.parameters()], lr=0.1)
x = torch.randn(8, 4)
for step in range(3):
    loss = (run(teacher, x).detach() - run(student, x)).pow(2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
    )
    recorded = record_script(script)
    assert recorded.error is None
    names = {
        id(tensor): f"{name}.{path}"
        for name in ("teacher", "student")
        for path, tensor in recorded.namespace[name].named_parameters()
    }
    tensors = {name: tensor for tensor, name in names.items()}
    trace = recorded.trace
    assert len(tensors) == 8
    shown = {one.name: one for one in trace.parameters() if one.root}
    assert shown.keys() == tensors.keys()
    assert not shown["student.spare.bias"].requires_grad
    assert shown["teacher.spare.bias"].requires_grad
    optimized = {name for name, one in shown.items() if one.optimizers}
    assert optimized == {
        "student.spare.weight",
        "teacher.spare.weight",
        "teacher.spare.bias",
        "student.fc.weight",
        "student.fc.bias",
    }
