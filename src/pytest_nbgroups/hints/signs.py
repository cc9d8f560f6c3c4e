"""Signs of GPU use and of inner parallelism in Python code, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_nbgroups.hints.names import NotebookNames, Value
from pytest_nbgroups.hints.vocabulary import (
    CLUSTERS,
    COUNTS,
    COUNTS_OF_CALLS,
    COUNTS_OF_POOLS,
    DEVICE_CALLS,
    FRAMEWORKS,
    GPU_CALLS,
    GPU_MODULES,
    POOL_MODULES,
    POOLS,
    SHOWING_CALLS,
    THREAD_POOLS,
    is_count,
    is_device,
    is_gpu_setting,
    is_several,
)

_LONGEST_TEXT = 40

_Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


@dataclass(frozen=True, kw_only=True)
class Sign:
    """What was found, in one place of one cell."""

    kind: Literal["gpu", "parallel"]
    certain: bool
    text: str
    line: int
    count: int | None = None
    """Processes or threads asked for, where it is a number of them."""


class SignFinder(ast.NodeVisitor):
    """Reads the cells of one notebook in turn: names that one defines hold in the next."""

    def __init__(self) -> None:
        self._found: list[Sign] = []
        self._doubts = 0
        self._names = NotebookNames(is_device)

    def signs_in(self, cell: ast.Module) -> Iterable[Sign]:
        """All of the cell, or what could be reached of one that is nested too deep."""
        self._found, self._doubts = [], 0
        with suppress(RecursionError):
            self.visit(cell)
        return self._found

    # Where code is that may not be run

    @contextmanager
    def _doubt(self) -> Iterator[None]:
        self._doubts += 1
        try:
            yield
        finally:
            self._doubts -= 1

    def _visit_all(self, nodes: ast.AST | Sequence[ast.AST]) -> None:
        for node in [nodes] if isinstance(nodes, ast.AST) else nodes:
            self.visit(node)

    def _visit_doubted(self, nodes: ast.AST | Sequence[ast.AST]) -> None:
        with self._doubt():
            self._visit_all(nodes)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        self.visit(node.test)
        test = self._names.value(node.test)
        if test.certain or _is_main(node.test):
            self._visit_all(node.body if test.value or not test.certain else node.orelse)
        else:
            self._visit_doubted(node.body)
            self._visit_doubted(node.orelse)

    visit_IfExp = visit_If  # noqa: N815  ast sets the names

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        self.visit(node.values[0])
        self._visit_doubted(node.values[1:])

    def visit_Try(self, node: ast.Try | ast.TryStar) -> None:
        """Where errors are caught, the code has another way."""
        visit = self._visit_doubted if node.handlers else self._visit_all
        for part in (node.body, node.handlers, node.orelse):
            visit(part)
        self._visit_all(node.finalbody)

    visit_TryStar = visit_Try  # noqa: N815

    def visit_With(self, node: ast.With) -> None:
        self._visit_all(node.items)
        calls = [item.context_expr for item in node.items]
        is_guard = any(isinstance(c, ast.Call) and self._names.last(c) == "suppress" for c in calls)
        (self._visit_doubted if is_guard else self._visit_all)(node.body)

    def visit_arguments(self, node: ast.arguments) -> None:
        """A default may be overridden by each call."""
        positional = [*node.posonlyargs, *node.args]
        pairs = [
            *zip(reversed(positional), reversed(node.defaults), strict=False),
            *zip(node.kwonlyargs, node.kw_defaults, strict=True),
        ]
        with self._doubt():
            for argument, default in pairs:
                if default is not None:
                    self._setting(argument.arg, default, COUNTS)
                    self.visit(default)

    def visit_FunctionDef(self, node: _Function) -> None:
        with self._names.inside(arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)):
            self.generic_visit(node)

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815

    # Where signs are

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            origin = alias.name if alias.asname else alias.name.partition(".")[0]
            self._names.import_as(alias.asname or origin, origin)
            self._module(alias.name, f"import {alias.name}", node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            return
        self._module(node.module, f"import {node.module}", node)
        for alias in node.names:
            self._names.import_as(alias.asname or alias.name, f"{node.module}.{alias.name}")
            if (node.module, alias.name) == ("numba", "cuda"):
                self._gpu("from numba import cuda", node)

    def _module(self, name: str, text: str, node: ast.stmt) -> None:
        top = name.partition(".")[0]
        if top in GPU_MODULES or name == "numba.cuda":
            self._gpu(text, node)
        elif top in FRAMEWORKS:
            self._gpu(text, node, certain=False)

    def visit_Assert(self, node: ast.Assert) -> None:
        if isinstance(node.test, ast.Call) and self._asks_for_cuda(node.test):
            self._gpu(f"assert {_text(node.test)}", node)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            self._assign(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._assign(node.target, node.value)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self._names.forget(_names_in(node.target))
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._names.forget(_names_in(node.target))
        self.generic_visit(node)

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        match target:
            case ast.Name(id=name):
                known, certain = self._names.value(value)
                self._names.assign(name, Value(known, certain=certain and not self._doubts))
                # Whether it counts is seen where the name is used: the next line may change it.
                with self._doubt():
                    self._setting(name, value, set())
            case ast.Subscript(slice=ast.Constant(value=str() as key)):
                self._setting(key, value, COUNTS)
            case _:
                self._names.forget(_names_in(target))

    def visit_Dict(self, node: ast.Dict) -> None:
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and isinstance(key.value, str):
                self._setting(key.value, value, COUNTS)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name, last = self._names.dotted(node.func), self._names.last(node)
        if self._starts_processes(node, name, last):
            self._pool(node, name if name in CLUSTERS else last)
        elif last not in THREAD_POOLS:
            for keyword in node.keywords:
                self._setting(keyword.arg or "", keyword.value, COUNTS_OF_CALLS)
        self._device_call(node, name, last)
        if last not in SHOWING_CALLS:
            self._pass_on(node)
        self.generic_visit(node)

    def _pass_on(self, node: ast.Call) -> None:
        """A variable that holds a device is handed to a function that is not known here."""
        for argument in node.args:
            value, certain = self._names.value(argument)
            if isinstance(argument, ast.Name) and is_device(value):
                self._gpu(f'{argument.id}="{value}"', node, certain=certain)

    def _device_call(self, node: ast.Call, name: str, last: str) -> None:
        if name in GPU_CALLS:
            self._gpu(f"{name}()", node)
        elif last == "cuda" and isinstance(node.func, ast.Attribute):
            self._gpu(".cuda()", node)
        elif self._asks_for_cuda(node):
            self._gpu(f"{name}()", node, certain=False)
        elif last in DEVICE_CALLS and node.args and not isinstance(node.args[0], ast.Name):
            value, certain = self._names.value(node.args[0])
            if is_device(value) or (last == "devices" and value == "gpu"):
                self._gpu(f"{last}({_text(node.args[0])})", node, certain=certain)

    def _starts_processes(self, node: ast.Call, name: str, last: str) -> bool:
        if name in CLUSTERS:
            return not node.args and all(k.arg not in {None, "address"} for k in node.keywords)
        is_pool = last == "Pool" and name.startswith(POOL_MODULES) and ".dummy." not in name
        return is_pool or last in POOLS

    def _pool(self, node: ast.Call, name: str) -> None:
        """However many there are: without a number, one for each CPU."""
        named = [k.value for k in node.keywords if k.arg in COUNTS_OF_POOLS]
        sizes = [n for n in named if not isinstance(self._names.value(n).value, bool)] or node.args
        size = self._names.value(sizes[0]) if sizes else Value()
        if size.value != 1:
            self._parallel(f"{name}({_text(sizes[0]) if sizes else ''})", node, size)

    def _setting(self, key: str, node: ast.expr, counts: AbstractSet[str]) -> None:
        known = self._names.value(node)
        if key in counts:
            if known.is_unknown or is_several(known.value):
                self._parallel(f"{key}={_text(node)}", node, known, certain=known.certain)
        elif isinstance(known.value, str) and is_gpu_setting(key.lower(), known.value):
            self._gpu(f'{key}="{known.value}"', node, certain=known.certain)

    def _gpu(self, text: str, node: ast.expr | ast.stmt, *, certain: bool = True) -> None:
        certain = certain and not self._doubts
        self._found.append(Sign(kind="gpu", certain=certain, text=text, line=node.lineno))

    def _parallel(self, text: str, node: ast.expr, size: Value, *, certain: bool = True) -> None:
        self._found.append(
            Sign(
                kind="parallel",
                certain=certain and not self._doubts,
                text=text,
                line=node.lineno,
                count=size.value if is_count(size.value) else None,
            )
        )

    def _asks_for_cuda(self, node: ast.Call) -> bool:
        return self._names.dotted(node.func).endswith("cuda.is_available")


def _is_main(test: ast.expr) -> bool:
    """``if __name__ == "__main__"``, which holds in a notebook."""
    return isinstance(test, ast.Compare) and (
        isinstance(test.left, ast.Name) and test.left.id == "__name__"
    )


def _names_in(target: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return f'"{node.value}"'
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST_TEXT else "..."
