"""Which departures from the format are refused, and how that reads."""

from __future__ import annotations

from typing import Any

import pytest

from pytest_nbgroups.notebooks.notebook_format import fault_of

MISSING = object()


def cell(**changes: Any) -> dict[str, Any]:
    made = {"cell_type": "code", "metadata": {}, "source": "1", "outputs": [], **changes}
    return {name: value for name, value in made.items() if value is not MISSING}


def notebook(*cells: Any, **changes: Any) -> dict[str, Any]:
    made = {"nbformat_minor": 5, "metadata": {}, "cells": list(cells) or [cell()], **changes}
    return {name: value for name, value in made.items() if value is not MISSING}


def output(**changes: Any) -> dict[str, Any]:
    return cell(outputs=[{"output_type": "stream", "name": "stdout", "text": "a", **changes}])


@pytest.mark.parametrize(
    "sound",
    [
        notebook(),
        notebook(cells=[]),
        notebook(cell(outputs=MISSING, execution_count="x", unknown=1)),
        notebook(cell(source=["a\n", "b"])),
        notebook(cell(cell_type="markdown", source="\ud83d", attachments={"a.png": {}})),
        notebook(output(text=["a", "b"])),
        notebook(cell(outputs=[{"output_type": "display_data", "text": 7}])),
        notebook(metadata={"kernelspec": {"name": "python3"}, "language_info": {}}),
    ],
)
def test_what_can_be_run_is_accepted(sound: dict[str, Any]) -> None:
    """The schema asks for more, and Jupyter does not."""
    assert fault_of(sound) is None


@pytest.mark.parametrize(
    ("broken", "fault"),
    [
        (notebook(nbformat_minor=MISSING), "nbformat_minor is missing, expected a whole number"),
        (notebook(nbformat_minor=True), "nbformat_minor is true, expected a whole number"),
        (notebook(nbformat_minor=1.5), "nbformat_minor is 1.5, expected a whole number"),
        (notebook(metadata=[]), "metadata is a list, expected an object"),
        (
            notebook(metadata={"kernelspec": "python3"}),
            'metadata.kernelspec is "python3", expected an object',
        ),
        (
            notebook(metadata={"language_info": {"name": 3}}),
            "metadata.language_info.name is 3, expected a text",
        ),
        (notebook(cells={}), "cells is an object, expected a list"),
        (notebook(cell(), "x"), 'cell 2: it is "x", expected an object'),
        (notebook(cell(cell_type=MISSING)), "cell 1: cell_type is missing, expected a text"),
        (
            notebook(cell(cell_type="heading")),
            'cell 1: cell_type is "heading", expected one of code, markdown, raw',
        ),
        (notebook(cell(source=MISSING)), "cell 1: source is missing, expected a text"),
        (notebook(cell(source=None)), "cell 1: source is null, expected a text"),
        (
            notebook(cell(source=["a", 1])),
            "cell 1: source has a line that is 1, expected a text",
        ),
        (notebook(cell(source="ab\ud83d")), "cell 1: source has half of a character, at 2"),
        (notebook(cell(metadata=MISSING)), "cell 1: metadata is missing, expected an object"),
        (
            notebook(cell(metadata={"tags": "skip-execution"})),
            'cell 1: metadata.tags is "skip-execution", expected a list',
        ),
        (notebook(cell(attachments=1)), "cell 1: attachments is 1, expected an object"),
        (
            notebook(cell(attachments={"a": "x"})),
            'cell 1: attachments.a is "x", expected an object',
        ),
        (notebook(cell(outputs="x")), 'cell 1: outputs is "x", expected a list'),
        (notebook(cell(outputs=[1])), "cell 1: output 1: it is 1, expected an object"),
        (
            notebook(cell(outputs=[{"name": "stdout"}])),
            "cell 1: output 1: output_type is missing, expected a text",
        ),
        (
            notebook(output(output_type="execute_result", data=[])),
            "cell 1: output 1: data is a list, expected an object",
        ),
        (notebook(output(name=1)), "cell 1: output 1: name is 1, expected a text"),
        (
            notebook(output(text=["a", 1])),
            "cell 1: output 1: text is a list, expected a text or a list of texts",
        ),
    ],
)
def test_the_first_fault_is_named(broken: dict[str, Any], fault: str) -> None:
    """With its place, what stands there and what is expected."""
    assert fault_of(broken) == fault


def test_outputs_of_other_cells_are_not_looked_at() -> None:
    """Only code cells have outputs that anything reads."""
    assert fault_of(notebook(cell(cell_type="markdown", outputs="x"))) is None
