"""A function and a module in place of those that the item of a test function has."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType


def function_for(name: str, *, doc: str, run: Callable[[], None]) -> Callable[[], None]:
    """Return a function for ``item.function`` and ``item.obj``."""

    # A real function: pytest reads item.obj.__globals__ for a condition given as text.
    def function() -> None:
        run()

    function.__name__ = function.__qualname__ = name
    function.__doc__ = doc
    return function


def module_for(nodeid: str, *, file: str) -> ModuleType:
    """Return a module for ``item.module``."""
    # None would not do: conftests ask hasattr(item, "module"), then read its name or file.
    module = ModuleType(nodeid.partition("::")[0].replace("/", "."))
    module.__file__ = file
    return module
