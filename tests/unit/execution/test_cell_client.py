"""The nbclient that takes printed text as it is."""

from __future__ import annotations

from typing import Any
from unittest.mock import create_autospec

import pytest
from nbclient import NotebookClient  # noqa: TID253  to compare with
from nbclient.output_widget import OutputWidget  # noqa: TID253
from nbformat import ValidationError  # noqa: TID253
from nbformat.v4 import new_code_cell, new_notebook, new_output  # noqa: TID253

from pytest_nbgroups.execution.cell_client import CellClient

REQUEST = "request"


def message(kind: str, **content: object) -> dict[str, Any]:
    header = {"msg_type": kind}
    return {
        "header": header,
        "msg_type": kind,
        "parent_header": {"msg_id": REQUEST},
        "content": content,
    }


MESSAGES = {
    "stream": message("stream", name="stderr", text="on\n"),
    "empty": message("stream", name="stdout", text=""),
    "display": message("display_data", data={"text/plain": "1"}, metadata={}),
    "result": message("execute_result", data={}, metadata={}, execution_count=1),
    "error": message("error", ename="E", evalue="", traceback=[]),
    "unknown": message("novelty"),
}


def clients() -> list[NotebookClient]:
    return [kind(new_notebook(cells=[new_code_cell("")])) for kind in (NotebookClient, CellClient)]


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("clears", [False, True])
def test_keeps_what_nbclient_keeps(name: str, *, clears: bool) -> None:
    """Of every kind of message, also where the outputs before it are to go."""
    kept = []
    for client in clients():
        client.clear_before_next_output = clears
        outs = [new_output("stream", text="before")]
        shown = client.output(outs, MESSAGES[name], None, 0)
        kept.append((outs, shown, client.clear_before_next_output))
    assert kept[0] == kept[1]


def test_output_widgets_take_what_is_printed() -> None:
    """It goes to the hook that is there for the request, and not to the cell."""
    client = clients()[1]
    hook = create_autospec(OutputWidget, instance=True)
    client.output_hook_stack[REQUEST].append(hook)
    outs: list[Any] = []
    assert client.output(outs, MESSAGES["stream"], None, 0) is None
    assert not outs
    hook.output.assert_called_once_with(outs, MESSAGES["stream"], None, 0)


@pytest.mark.parametrize("content", [{"name": "stdout", "text": 1}, {"name": 1, "text": "on"}])
def test_bad_messages_are_refused(content: dict[str, object]) -> None:
    """What would make the notebook invalid does not come into it."""
    for client in clients():
        outs: list[Any] = []
        with pytest.raises(ValidationError):
            client.output(outs, message("stream", **content), None, 0)
        assert outs == []
