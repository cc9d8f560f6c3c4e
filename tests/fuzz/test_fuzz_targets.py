from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from fuzz_targets import TARGETS, Target, alarm
from hypothesis import HealthCheck, given


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_input_breaks_a_promise(target: Target, tmp_path: Path) -> None:
    """A few inputs; `nox -s fuzz` tries as many as there is time for."""
    folder = tmp_path / "folder"

    @hypothesis.settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
    @given(target.inputs)
    def holds(value: Any) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        with alarm():
            target.check(value, folder)

    holds()
