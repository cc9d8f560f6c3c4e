"""Validation of a session record by its JSON schema. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from pytest_nbgroups.core.codec import departure
from pytest_nbgroups.reports.session_schema import session_schema


def parsed(text: str) -> Any:  # noqa: ANN401  what JSON holds
    """Parse JSON whose numbers are finite. Raises ValueError or RecursionError."""
    return json.loads(text, parse_float=_finite, parse_constant=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if math.isfinite(number):
        return number
    raise ValueError(f"{text} is not a finite number")


def fault(record: object) -> str | None:
    """Describe the first wrong part: ``experiments[0].nodeid: expected string, got 3``."""
    from fastjsonschema import JsonSchemaValueException

    try:
        _validate()(record)
    except JsonSchemaValueException as exc:
        place = (exc.name or "").removeprefix("data").removeprefix(".")
        if exc.rule == "required":
            missing = next(name for name in exc.rule_definition if name not in exc.value)
            return f"{place}.{missing} is missing".removeprefix(".")
        return departure(place, _expected(exc.rule, exc.rule_definition), exc.value)
    return None


@cache
def _validate() -> Callable[[object], object]:
    import fastjsonschema

    validate: Callable[[object], object] = fastjsonschema.compile(
        session_schema(), use_default=False
    )
    return validate


def _expected(rule: str | None, definition: Any) -> str:  # noqa: ANN401  as JSON schemas have it
    match rule:
        case "type":
            return definition if isinstance(definition, str) else " or ".join(definition)
        case "enum":
            return ", ".join(definition)
        case "minimum":
            return f"{definition} or more"
        case "exclusiveMaximum":
            return f"less than {definition}"
        case _:
            return str(definition)
