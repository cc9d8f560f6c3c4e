"""Signs of GPU use and of inner parallelism in Python code, found without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_nbgroups.hints.names import NotebookNames, Value
from pytest_nbgroups.hints.vocabulary import (
    CLUSTERS,
    COUNTS,
    COUNTS_OF_CALLS,
    COUNTS_OF_POOLS,
    DEVICE_CALLS,
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
    """A sign in one cell."""

    kind: Literal["gpu", "parallel"]
    text: str
    count: int | None = None
    """Number of processes or threads; None for all CPUs."""


class SignFinder(ast.NodeVisitor):
    """Reads the cells of one notebook in turn: names that one defines hold in the next."""

    def __init__(self) -> None:
        self._found: list[Sign] = []
        self._names = NotebookNames(is_device)

    def signs_in(self, cell: ast.Module) -> Iterable[Sign]:
        """Return all signs of the cell, or those that could be reached in a cell that is nested too deep."""
        self._found = []
        with suppress(RecursionError):
            self.visit(cell)
        return self._found

    def visit_FunctionDef(self, node: _Function) -> None:
        with self._names.inside(arg.arg for arg in ast.walk(node.args) if isinstance(arg, ast.arg)):
            self.generic_visit(node)

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef  # noqa: N815  ast sets the names

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            # ``import a.b`` binds ``a``, ``import a.b as c`` binds ``a.b``.
            origin = alias.name if alias.asname else alias.name.partition(".")[0]
            self._names.import_as(alias.asname or origin, origin)
            self._module(alias.name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:  # a relative import: a module of the user
            return
        self._module(node.module)
        for alias in node.names:
            self._names.import_as(alias.asname or alias.name, f"{node.module}.{alias.name}")
            if (node.module, alias.name) == ("numba", "cuda"):
                self._gpu("from numba import cuda")

    def _module(self, name: str) -> None:
        if name.partition(".")[0] in GPU_MODULES or name == "numba.cuda":
            self._gpu(f"import {name}")

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
                self._names.assign(name, self._names.value(value))
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
        """Find a variable with a device that is passed to an unknown function."""
        for argument in node.args:
            value = self._names.value(argument)
            if isinstance(argument, ast.Name) and is_device(value):
                self._gpu(f'{argument.id}="{value}"')

    def _device_call(self, node: ast.Call, name: str, last: str) -> None:
        if name in GPU_CALLS or name.endswith("cuda.is_available"):
            self._gpu(f"{name}()")
        elif last == "cuda" and isinstance(node.func, ast.Attribute):
            self._gpu(".cuda()")
        # `_pass_on` finds the value behind a name.
        elif last in DEVICE_CALLS and node.args and not isinstance(node.args[0], ast.Name):
            value = self._names.value(node.args[0])
            if is_device(value) or (last == "devices" and value == "gpu"):
                self._gpu(f"{last}({_text(node.args[0])})")

    def _starts_processes(self, node: ast.Call, name: str, last: str) -> bool:
        if name in CLUSTERS:
            return not node.args and all(k.arg not in {None, "address"} for k in node.keywords)
        is_pool = last == "Pool" and name.startswith(POOL_MODULES) and ".dummy." not in name
        return is_pool or last in POOLS

    def _pool(self, node: ast.Call, name: str) -> None:
        """Note a pool of processes; without a number it has one for each CPU."""
        named = [k.value for k in node.keywords if k.arg in COUNTS_OF_POOLS]
        # For dask, ``processes=False`` asks for threads: it is no number.
        sizes = [n for n in named if not isinstance(self._names.value(n), bool)] or node.args
        size = self._names.value(sizes[0]) if sizes else None
        if size != 1:
            self._parallel(f"{name}({_text(sizes[0]) if sizes else ''})", size)

    def _setting(self, key: str, node: ast.expr, counts: AbstractSet[str]) -> None:
        known = self._names.value(node)
        if key in counts and is_several(known):
            self._parallel(f"{key}={_text(node)}", known)
        elif isinstance(known, str) and is_gpu_setting(key.lower(), known):
            self._gpu(f'{key}="{known}"')

    def _gpu(self, text: str) -> None:
        self._found.append(Sign(kind="gpu", text=text))

    def _parallel(self, text: str, size: Value) -> None:
        count = size if is_count(size) else None
        self._found.append(Sign(kind="parallel", text=text, count=count))


def _names_in(target: ast.expr) -> Iterator[str]:
    return (node.id for node in ast.walk(target) if isinstance(node, ast.Name))


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return f'"{node.value}"'
    text = ast.unparse(node)
    return text if len(text) <= _LONGEST_TEXT else "..."
