"""The nbclient that takes printed text as it is."""

from __future__ import annotations

from typing import Any
from unittest.mock import create_autospec

import pytest
from nbclient import NotebookClient  # noqa: TID253  to compare with
from nbclient.exceptions import CellExecutionComplete  # noqa: TID253
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


def listening() -> tuple[CellClient, list[str]]:
    """A client, and what it has refused."""
    client, refused = CellClient(new_notebook(cells=[new_code_cell("")])), list[str]()
    client.nb.cells[0].metadata.execution = {}  # as nbclient begins a cell
    client.clear_before_next_output = False
    client.refuse = lambda kind, error: refused.append(f"{kind}: {type(error).__name__}")
    client.taken_errors = []
    return client, refused


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (
            message("display_data", data={"text/plain": None}, metadata={}),
            "NotebookValidationError",
        ),
        (message("display_data"), "KeyError"),
        (message("stream", name="stdout", text=1), "NotebookValidationError"),
        (message("comm_msg"), "KeyError"),
    ],
)
def test_what_cannot_become_an_output_is_refused(bad: dict[str, Any], why: str) -> None:
    """The cell goes on without it."""
    client, refused = listening()
    cell = client.nb.cells[0]
    assert client.process_message(bad, cell, 0) is None
    assert refused == [f"{bad['msg_type']}: {why}"]
    client.process_message(MESSAGES["stream"], cell, 0)
    assert [output.text for output in cell.outputs] == ["on\n"]


def test_the_end_of_a_cell_is_no_refusal() -> None:
    """The exception by which nbclient reports it passes on."""
    client, refused = listening()
    with pytest.raises(CellExecutionComplete):
        client.process_message(message("status", execution_state="idle"), client.nb.cells[0], 0)
    assert refused == []


@pytest.mark.parametrize(
    ("traceback", "kept"),
    [(None, []), ([1, "two"], ["1", "two"]), ("one", ["one"]), (["a"], ["a"])],
)
def test_an_error_keeps_its_name(traceback: object, kept: list[str]) -> None:
    """Whatever an exception makes of its own traceback."""
    client, refused = listening()
    cell = client.nb.cells[0]
    client.process_message(message("error", ename="E", evalue=None, traceback=traceback), cell, 0)
    (error,) = cell.outputs
    assert (error.ename, error.evalue, error.traceback) == ("E", "", kept)
    assert refused == []
    assert client.taken_errors == []


def test_errors_in_output_widgets() -> None:
    """They are no outputs of the cell, but are known."""
    client, _ = listening()
    client.output_hook_stack[REQUEST].append(create_autospec(OutputWidget, instance=True))
    bad = message("error", ename="E", evalue="bad", traceback=[])
    client.process_message(bad, client.nb.cells[0], 0)
    assert client.nb.cells[0].outputs == []
    assert [(error.ename, error.evalue) for error in client.taken_errors] == [("E", "bad")]


@pytest.mark.parametrize("content", [{"name": "stdout", "text": 1}, {"name": 1, "text": "on"}])
def test_bad_messages_are_refused(content: dict[str, object]) -> None:
    """What would make the notebook invalid does not come into it."""
    for client in clients():
        outs: list[Any] = []
        with pytest.raises(ValidationError):
            client.output(outs, message("stream", **content), None, 0)
        assert outs == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"payload": [{"source": "ask_exit", "keepkernel": False}]}, True),
        ({"payload": [{"source": "page"}, {"source": "ask_exit", "keepkernel": None}]}, True),
        ({"payload": [{"source": "ask_exit", "keepkernel": True}]}, False),
        ({"payload": [{"source": "set_next_input", "text": "ask_exit"}]}, False),
        ({"payload": []}, False),
        ({"payload": None}, False),
        ({"payload": ["ask_exit", None]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_a_reply_says_that_its_kernel_ends(content: object, *, expected: bool) -> None:
    """Unless the kernel is to be kept. A kernel may leave the payload out, or send anything."""
    client = CellClient(new_notebook(cells=[new_code_cell("")]))
    reply = None if content is None else {"content": content}
    client.on_cell_executed(cell=client.nb.cells[0], cell_index=0, execute_reply=reply)
    assert client.kernel_ends is expected
