"""The JSON schema that the package ships for editors."""

from __future__ import annotations

import json
from importlib.resources import files

from pytest_nbgroups.declarations.keys import json_schema


def test_shipped_schema_is_up_to_date() -> None:
    """What editors read is what the plugin accepts; ``nox -s schema`` writes the file."""
    shipped = (files("pytest_nbgroups") / "experiment.schema.json").read_text(encoding="utf-8")
    assert json.loads(shipped) == json_schema()
