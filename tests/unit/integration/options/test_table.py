"""The table of options is the one source of what is said of them."""

from __future__ import annotations

from dataclasses import fields

import pytest

from pytest_nbgroups.core.settings import Settings
from pytest_nbgroups.integration.options.table import OPTIONS, PLAN, RESUME, RUN, Option
from pytest_nbgroups.integration.options.values import read_module

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


WITH_VALUE = [option for option in OPTIONS if not option.is_switch]


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_every_row_is_whole(option: Option) -> None:
    """It can be given in some way, and has help that is a sentence."""
    assert option.has_flag or option.has_ini
    assert option.name.startswith(("experiment_", "run_"))
    assert option.help.endswith(".")
    assert option.help[0].isupper()
    shows_value = not option.is_switch and bool(option.metavar or option.choices)
    assert shows_value != option.is_switch or not option.has_flag


def test_names_are_there_once() -> None:
    """A second row would never be read."""
    names = [option.name for option in OPTIONS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("option", WITH_VALUE, ids=lambda option: option.name)
def test_defaults_can_be_given(option: Option) -> None:
    """The text that the help names as the default is accepted, unless it is a description."""
    is_description = option.default or option.default_text in {"none", ".experiments"}
    if not is_description:
        option.parse(option.default_text)


@pytest.mark.parametrize("option", WITH_VALUE, ids=lambda option: option.name)
def test_a_bad_value_is_a_value_error(option: Option) -> None:
    """The error says what is accepted; a name with a blank is no module."""
    with pytest.raises(ValueError, match=r"^expected "):
        option.parse("" if option.read is not read_module else "no module")
