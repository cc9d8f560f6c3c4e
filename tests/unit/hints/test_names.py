"""What names in notebooks stand for."""

from __future__ import annotations

import ast

import pytest

from pytest_nbgroups.hints.names import ALL_CPUS, NotebookNames, Value


def expression(source: str) -> ast.expr:
    return ast.parse(source, mode="eval").body


@pytest.fixture
def names() -> NotebookNames:
    return NotebookNames(lambda value: value == "cuda")


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("4", 4),
        ("-2", -2),
        ("None", None),
        ("'cuda'", "cuda"),
        ("os.cpu_count()", ALL_CPUS),
        ("torch.device('cuda')", "cuda"),
        ("torch.device()", None),
        ("'cpu' if slow else 'cuda'", "cuda"),
        ("'cuda' if fast else 'cpu'", "cuda"),
        ("'cpu' if slow else 'tpu'", None),
        ("2 + 2", None),
        ("unknown", None),
        ("b'cuda'", None),
    ],
)
def test_values(names: NotebookNames, source: str, value: Value) -> None:
    """Constants are known, of two branches the notable one counts, and computed values are unknown."""
    assert names.value(expression(source)) == value


def test_dotted_names(names: NotebookNames) -> None:
    """With imports undone and calls marked; what has no name is empty."""
    names.import_as("t", "torch")
    assert names.dotted(expression("t.cuda.is_available")) == "torch.cuda.is_available"
    assert names.dotted(expression("t.device('x').type")) == "torch.device().type"
    assert names.dotted(expression("'a'.join")) == ".join"
    call = expression("t.cuda.synchronize()")
    assert isinstance(call, ast.Call)
    assert names.last(call) == "synchronize"


def test_names_of_a_function_end_with_it(names: NotebookNames) -> None:
    """Its parameters hide what is outside, and nothing that it assigns is seen later."""
    known, other = expression("device"), expression("other")
    names.assign("device", "cuda")
    with names.inside(["device"]):
        assert names.value(known) is None
        names.assign("device", "cpu")
        names.assign("other", 1)
    assert names.value(known) == "cuda"
    assert names.value(other) is None
    names.forget(["device", "never"])
    assert names.value(known) is None
