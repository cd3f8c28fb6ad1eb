"""What parameters and modules are called: as in their model, and with the model's name where two models share a name.

`Parameter.root` and `Module.root` are what the script calls a model where it calls it. Several models of one root
(called by one function) go by the variables that they were put in where they were made; where these do not tell them
apart (made in a list, or anew in each fold) they are numbered here: `net`, `net (2)`. A model that shares a name with
another has its own name before all of its names (`G.0.weight`), so a name only ever grows as more of a trace is read.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TypeVar

from .moments import OpCall, Template
from .records import Module, Parameter

M = TypeVar("M", bound=Hashable)
_KEPT = 16  # templates


def sharing(names: Mapping[M, Iterable[str]]) -> frozenset[M]:
    """The models that have a name in common with another one, from the names that each has."""
    owners: dict[str, set[M]] = defaultdict(set)
    for model, own in names.items():
        for name in own:
            owners[name].add(model)
    return frozenset(model for found in owners.values() if len(found) > 1 for model in found)


def _to_qualify(has: Mapping[str, Collection[str]], parents: Collection[str]) -> frozenset[str]:
    """The models that share a name with another, by its long names too; "" has the names of no model.

    A model that is no parent is itself a name.
    """
    found: frozenset[str] = frozenset()
    while True:
        shown = {
            model: {f"{model}.{name}" if model in found else name for name in own}
            | ({model} if model in found or model not in parents else set()) - {""}
            for model, own in has.items()
        }
        more = found | sharing(shown) - {""}
        if more == found:
            return found
        found = more


class Names:
    """The shown names of one trace. `templates` gives some of its templates, the first ones first.

    `variable` tells what the value that was made at a stack was bound to, "" where that is not known.
    `modules` are the records with the model's shown name as `root`; `parameters` so too, and with the shown name
    as `name`. `types` has the class of each module that a picture may group by, by its shown path.
    """

    def __init__(
        self,
        modules: Mapping[int, Module],
        parameters: Mapping[int, Parameter],
        templates: Callable[[], Iterable[Template]] = tuple,
        variable: Callable[[int | None], str] = lambda _: "",
    ) -> None:
        self._made_of = (modules, parameters, len(modules), len(parameters))
        models = _Models(modules, parameters, templates, variable)
        self.modules = {key: replace(one, root=models.of_module[key]) for key, one in modules.items()}
        self._paths = {key: one.name for key, one in parameters.items()}
        has: dict[str, set[str]] = defaultdict(set)
        for key, parameter in parameters.items():
            has[models.of_parameter[key]].add(parameter.name)
        for module in self.modules.values():
            has[module.root].add(module.path)
        parents = {module.root for module in self.modules.values() if module.path}
        self.qualified = _to_qualify({model: own - {""} for model, own in has.items()}, parents)
        self.parameters = {
            key: replace(one, name=self._long(models.of_parameter[key], one.name), root=models.of_parameter[key])
            for key, one in parameters.items()
        }
        self._boxes = {key: self._box(module, parents) for key, module in self.modules.items()}
        self.types = {path: modules[key].type for key, path in self._boxes.items() if path is not None}
        self._places = {(module.root, module.path): key for key, module in self.modules.items()}
        self._called = {key: one.name for key, one in self.parameters.items() if one.root and one.name}
        self._renamed: dict[int, tuple[Template, Template]] = {}

    def made_of(self, modules: Mapping[int, Module], parameters: Mapping[int, Parameter]) -> bool:
        """Whether these are the tables that the names were made of, not grown since."""
        mine, own, *sizes = self._made_of
        return modules is mine and parameters is own and [len(modules), len(parameters)] == sizes

    def keeps(self, other: Names) -> bool:
        """Whether all that `other` knows is called the same here."""
        same = all(self._called.get(key) == other._called.get(key) for key in other.parameters)
        return same and other._boxes.items() <= self._boxes.items()

    def _long(self, model: str, name: str) -> str:
        return f"{model}.{name}" if name and model in self.qualified else name

    def _box(self, module: Module, parents: Collection[str]) -> str | None:
        if module.path:
            return self._long(module.root, module.path)
        return None if module.root in parents and module.root not in self.qualified else module.root or None

    # -- modules -------------------------------------------------------------------------------------

    def box(self, module: int | None) -> str | None:
        """The path that a picture groups a module by. None for none, and for a model that is the whole picture."""
        return self._boxes.get(module) if module is not None else None

    def box_of(self, parameter: int | None) -> str | None:
        """The path of the module that owns a parameter, if that module was seen."""
        return self.box(self.module_of(parameter))

    def module_of(self, parameter: int | None) -> int | None:
        """The module that owns a parameter, if that module was seen."""
        known = self.parameters.get(parameter) if parameter is not None else None
        if known is None:
            return None
        return self._places.get((known.root, self.path(known.id).rpartition(".")[0]))

    def module(self, module: int) -> str:
        """What a sentence calls a module: its path, or the model's name. Raises KeyError for one that is not there."""
        known = self.modules[module]
        return self.box(module) or known.root or known.type

    # -- parameters ----------------------------------------------------------------------------------

    def path(self, parameter: int) -> str:
        """A parameter's qualified name inside its model. Raises KeyError for one that is not there."""
        return self._paths[parameter]

    def shown(self, template: Template) -> Template:
        """The template with the shown names on the tensors that are parameters of a model."""
        known = self._renamed.get(template.id)
        if known is None or known[0] is not template:
            if len(self._renamed) >= _KEPT:
                self._renamed.clear()
            known = self._renamed[template.id] = (template, self._rename(template))
        return known[1]

    def _rename(self, template: Template) -> Template:
        called = self._called
        tensors = tuple(
            replace(tensor, name=called[tensor.parameter])
            if tensor.parameter is not None and called.get(tensor.parameter, tensor.name) != tensor.name
            else tensor
            for tensor in template.tensors
        )
        changed = any(new is not old for new, old in zip(tensors, template.tensors))
        return replace(template, tensors=tensors) if changed else template

    @cached_property
    def aliases(self) -> Mapping[str, Sequence[str]]:
        """What else one may call a name by: without its model's name, or with it. Each with the names it may mean."""
        found: dict[str, dict[str, None]] = defaultdict(dict)
        names = [(one.root, one.path) for one in self.modules.values()]
        names += [(one.root, self.path(key)) for key, one in self.parameters.items()]
        for model, name in names:
            if model and name:
                shown, long = self._long(model, name), f"{model}.{name}"
                found[name if shown == long else long][shown] = None
        return {alias: tuple(meant) for alias, meant in found.items()}


class _Models:
    """Which model each module and parameter belongs to, by the model's shown name.

    A parameter tells its model. In older traces those of several models of one root are told apart by the modules
    whose ops read them; one that no op read goes with the parameter before it, as long as that one's model has none
    of its name.
    """

    def __init__(
        self,
        modules: Mapping[int, Module],
        parameters: Mapping[int, Parameter],
        templates: Callable[[], Iterable[Template]],
        variable: Callable[[int | None], str],
    ) -> None:
        self._modules, self._parameters, self._variable = modules, parameters, variable
        self._heads = {key: self._head(key) for key in modules}
        self._models = self._by_root(templates)
        several = {root for root, heads in self._models.items() if len(heads) > 1}
        called = {head: name for root in several for head, name in self._told_by_variables(root).items()}
        self.of_module = {key: called.get(head, modules[key].root) for key, head in self._heads.items()}
        self.of_parameter = {key: one.root for key, one in parameters.items()}
        if several:
            found = self._told(several)
            unknown = {key for key, one in parameters.items() if one.root in several and key not in found}
            found |= self._told_apart(unknown, templates) if unknown else {}
            self.of_parameter.update({key: called[head] for key, head in found.items()})

    def _told_by_variables(self, root: str) -> dict[int, str]:
        """What each of several models of one root is called."""
        heads = self._models[root]
        own = {head: self._variable(self._modules[head].stack).removeprefix("self.") for head in heads}
        taken = Counter([*own.values(), *self._models])
        told = {head: name for head, name in own.items() if name and taken[name] == 1}
        others = [head for head in heads if head not in told]
        return told | {head: f"{root} ({number})" if number > 1 else root for number, head in enumerate(others, 1)}

    def _head(self, module: int) -> int:
        """The outermost module of the model that a module lies in."""
        seen = {module}
        while (parent := self._modules[module].parent) is not None and parent in self._modules and parent not in seen:
            seen.add(parent)
            module = parent
        return module

    def _by_root(self, templates: Callable[[], Iterable[Template]]) -> dict[str, list[int]]:
        """The models by root. A module without parameters and modules of its own (a loss made anew) is none.

        Whether one that nothing is registered in has parameters all the same, the ops tell that read them.
        """
        roots = {one.root for one in self._parameters.values()}
        roots |= {one.root for one in self._modules.values() if one.path}
        found: dict[str, list[int]] = defaultdict(list)
        for head in sorted(set(self._heads.values())):
            found[self._modules[head].root].append(head)
        bare = {root for root, heads in found.items() if len(heads) > 1 and root not in roots}
        reading = self._reading(templates) if bare else frozenset()
        return {root: [one for one in heads if root not in bare or one in reading] for root, heads in found.items()}

    def _reading(self, templates: Callable[[], Iterable[Template]]) -> frozenset[int]:
        """The outermost modules whose ops read a parameter, whatever it is called."""
        return frozenset(
            self._heads[moment.module]
            for template in templates()
            for moment in template.moments
            if isinstance(moment, OpCall) and moment.module is not None and moment.module in self._heads
            if any(template.tensors[tensor].parameter is not None for tensor in moment.inputs)
        )

    def _told(self, roots: Collection[str]) -> dict[int, int]:
        """The head of the model that each parameter under these roots names."""
        named = {
            key: self._heads.get(one.model)
            for key, one in self._parameters.items()
            if one.model is not None and one.root in roots
        }
        return {key: head for key, head in named.items() if head in self._models[self._parameters[key].root]}

    def _told_apart(self, unknown: Collection[int], templates: Callable[[], Iterable[Template]]) -> dict[int, int]:
        """The head of the model that each of these parameters belongs to."""
        found = self._readers(unknown, templates)
        places = {(head, self._modules[key].path) for key, head in self._heads.items()}
        taken = {(head, self._parameters[key].name) for key, head in found.items()}
        before: dict[str, int] = {}
        for key in sorted(unknown):
            one = self._parameters[key]
            if key not in found:
                heads = ([before[one.root]] if one.root in before else []) + self._models[one.root]
                free = [head for head in heads if (head, one.name) not in taken and (head, _owner(one)) in places]
                found[key] = (free or heads)[0]
                taken.add((found[key], one.name))
            before[one.root] = found[key]
        return found

    def _readers(self, unknown: Collection[int], templates: Callable[[], Iterable[Template]]) -> dict[int, int]:
        """The head of the model whose module read each parameter, as far as one did."""
        found: dict[int, int] = {}
        for template in templates():
            for moment in template.moments:
                if not isinstance(moment, OpCall) or moment.module is None or moment.module not in self._modules:
                    continue
                module, head = self._modules[moment.module], self._heads[moment.module]
                for tensor in moment.inputs:
                    key = template.tensors[tensor].parameter
                    one = self._parameters.get(key) if key is not None and key in unknown else None
                    if one is not None and (one.root, _owner(one)) == (module.root, module.path):
                        found.setdefault(one.id, head)
            if len(found) == len(unknown):
                break
        return found


def _owner(parameter: Parameter) -> str:
    """The path of the module that has the parameter."""
    return parameter.name.rpartition(".")[0]
