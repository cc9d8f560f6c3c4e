"""Names and constants in the code of a notebook, as far as they are known without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

ALL_CPUS = -1
_CPU_COUNTS = {"cpu_count", "process_cpu_count"}

Value: TypeAlias = str | float | None
"""A constant; None if it is not known."""


class NotebookNames:
    """Names outlive the cell that defines them."""

    def __init__(self, is_notable: Callable[[object], bool]) -> None:
        """``is_notable`` picks the value of ``a if condition else b``."""
        self._is_notable = is_notable
        self._imported: dict[str, str] = {}
        self._values: dict[str, Value] = {}

    def import_as(self, name: str, origin: str) -> None:
        self._imported[name] = origin

    def assign(self, name: str, value: Value) -> None:
        self._values[name] = value

    def forget(self, names: Iterable[str]) -> None:
        for name in names:
            self._values.pop(name, None)

    @contextmanager
    def inside(self, parameters: Iterable[str]) -> Iterator[None]:
        """Enter a function: its parameters hide the names outside, and its names end with it."""
        outside = dict(self._values)
        self.forget(parameters)
        try:
            yield
        finally:
            self._values = outside

    def dotted(self, node: ast.expr) -> str:
        """Return ``torch.cuda.is_available`` with imports undone; a call on the way gets ``()``."""
        match node:
            case ast.Name(id=name):
                return self._imported.get(name, name)
            case ast.Attribute(value=value, attr=attr):
                return f"{self.dotted(value)}.{attr}"
            case ast.Call(func=func):
                return f"{self.dotted(func)}()"
            case _:
                return ""

    def last(self, call: ast.Call) -> str:
        """Return the last part of the name of the called function."""
        return self.dotted(call.func).rpartition(".")[2]

    def value(self, node: ast.expr) -> Value:
        """Return the value of a constant, a name, ``torch.device("cuda")`` or ``os.cpu_count()``."""
        match node:
            case ast.Constant(value=(str() | int() | float()) as value):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return -value
            case ast.Name(id=name):
                return self._values.get(name)
            case ast.IfExp(body=body, orelse=orelse):
                return next(filter(self._is_notable, (self.value(body), self.value(orelse))), None)
            case ast.Call():
                return self._called(node)
            case _:
                return None

    def _called(self, call: ast.Call) -> Value:
        last = self.last(call)
        if last in _CPU_COUNTS:
            return ALL_CPUS
        return self.value(call.args[0]) if last == "device" and call.args else None
