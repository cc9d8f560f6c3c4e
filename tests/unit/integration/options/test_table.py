"""The table of options is the one source of what is said of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.integration.options.table import OPTIONS, PLAN, RESUME, RUN

OPTION = {option.name: option for option in OPTIONS}


def test_switches() -> None:
    """They come in this order, by which their flags are known."""
    assert (RUN, PLAN, RESUME) == ("--run-experiments", "--experiment-plan", "--experiment-resume")


def test_fields() -> None:
    """Each field of the settings that an option sets is there, and set by one option."""
    named = [option.field for option in OPTIONS if option.field]
    assert len(set(named)) == len(named)
    composed = {"rootdir", "option_deadlines", "ini_deadlines", "option_kernel", "ini_kernel"}
    assert {*named, *composed} == {field.name for field in fields(Settings)}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("experiment_schedule", "longest"),
        ("experiment_max_parallel", "none"),
        ("experiment_artifacts", ".experiments"),
        ("experiment_default_ram", "2GB"),
        ("experiment_cpu_affinity", "false"),
        ("experiment_shutdown_grace", "10s"),
        ("experiment_preload", "none"),
        ("experiment_kernel", "the notebook's"),
    ],
)
def test_default(name: str, text: str) -> None:
    """It is that of the settings, as one writes it, unless the table has words for it."""
    assert OPTION[name].default_text == text


def test_choices() -> None:
    """They are those of the settings; others are refused with all of them."""
    assert OPTION["experiment_transport"].choices == ("auto", "ipc", "tcp")
    assert OPTION["experiment_transport"].parse("ipc") == "ipc"
    with pytest.raises(ValueError, match=r"^expected auto or ipc or tcp$"):
        OPTION["experiment_transport"].parse("udp")
