"""What the names and expressions in the code of a notebook are, as far as that can be told without running it."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

ALL_CPUS = -1
_CPU_COUNTS = {"cpu_count", "process_cpu_count"}


class Value(NamedTuple):
    """A constant, or nothing known."""

    value: str | float | None = None
    certain: bool = False
    """False where it may be something else."""

    @property
    def is_unknown(self) -> bool:
        return self.value is None and not self.certain


class NotebookNames:
    """Names outlive the cell that defines them."""

    def __init__(self, is_notable: Callable[[object], bool]) -> None:
        """``is_notable`` picks the value that ``a if condition else b`` is said to be perhaps."""
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
        """Within a function: its parameters hide what is outside, and its names end with it."""
        outside = dict(self._values)
        self.forget(parameters)
        try:
            yield
        finally:
            self._values = outside

    def dotted(self, node: ast.expr) -> str:
        """``torch.cuda.is_available``, with imports undone; what is called on the way has ``()``."""
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
        """The last part of the name of what is called."""
        return self.dotted(call.func).rpartition(".")[2]

    def value(self, node: ast.expr) -> Value:
        """Of a constant, a name that was given one, ``torch.device("cuda")``, ``os.cpu_count()``."""
        match node:
            case ast.Constant(value=(str() | int() | float() | None) as value):
                return Value(value, certain=True)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as value)):
                return Value(-value, certain=True)
            case ast.Name(id=name):
                return self._values.get(name, Value())
            case ast.IfExp(body=body, orelse=orelse):
                either = (self.value(body).value, self.value(orelse).value)
                return Value(next(filter(self._is_notable, either), None))
            case ast.Call():
                return self._called(node)
            case _:
                return Value()

    def _called(self, call: ast.Call) -> Value:
        last = self.last(call)
        if last in _CPU_COUNTS:
            return Value(ALL_CPUS, certain=True)
        return self.value(call.args[0]) if last == "device" and call.args else Value()
