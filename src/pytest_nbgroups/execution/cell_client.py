"""The nbclient that executes cells: quick if they print much, and unmoved by messages that are not in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbclient import NotebookClient
from nbclient.exceptions import CellControlSignal
from nbformat import NotebookNode


class CellClient(NotebookClient):
    """Takes printed text without a check, and leaves out messages that cannot become an output.

    Such a message is given to ``refuse``. nbclient would end the notebook, or read no further and wait for ever if the
    kernel has no answer to send.
    """

    refuse: Callable[[str, Exception], None]
    """Called with the kind of the message and the error. Set before a cell is executed."""
    taken_errors: list[NotebookNode]
    """Errors that output widgets show. Emptied before a cell is executed."""

    def __init__(self, nb: NotebookNode, **options: Any) -> None:  # noqa: ANN401  as its base
        super().__init__(nb, on_cell_executed=self._take_reply, **options)
        self.kernel_ends = False
        """The last cell asked its kernel to end; the kernel does so a tenth of a second after its reply."""

    def process_message(
        self, msg: dict[str, Any], cell: NotebookNode, cell_index: int
    ) -> NotebookNode | None:
        """Take in a message. Raises CellExecutionComplete for the one that ends the cell."""
        try:
            if msg["msg_type"] == "error":
                self._take_error(msg)
            return super().process_message(msg, cell, cell_index)
        except CellControlSignal:
            raise
        except Exception as exc:  # noqa: BLE001  nbclient raises whatever a message makes it run into
            self.refuse(msg["msg_type"], exc)
            return None

    def _take_reply(self, *, execute_reply: Mapping[str, Any] | None, **_: object) -> None:
        self.kernel_ends = execute_reply is not None and _asks_to_end(execute_reply["content"])

    def _take_error(self, msg: dict[str, Any]) -> None:
        _put_in_order(msg["content"])
        if self.output_hook_stack[msg["parent_header"].get("msg_id")]:
            self.taken_errors.append(NotebookNode(msg["content"]))

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Append an output to those of a cell."""
        printed = _printed(msg)
        is_taken_elsewhere = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if printed is None or is_taken_elsewhere or self.clear_before_next_output:
            return super().output(outs, msg, display_id, cell_index)
        # The schema's check would repeat each piece of text in messages that nobody sees.
        outs.append(printed)
        return printed


def _put_in_order(error: dict[str, Any]) -> None:
    """Keep the name of an exception whose other parts are not what the format asks for.

    IPython sends what an exception's own ``_render_traceback_`` returns.
    """
    for part in ("ename", "evalue"):
        error[part] = "" if error.get(part) is None else str(error[part])
    frames = error.get("traceback") or []
    error["traceback"] = [
        str(frame) for frame in (frames if isinstance(frames, list) else [frames])
    ]


def _printed(msg: dict[str, Any]) -> NotebookNode | None:
    """None for anything but text on a stream, as its schema has it."""
    name, text = (msg["content"].get(key) for key in ("name", "text"))
    if msg["header"]["msg_type"] != "stream" or not isinstance(name, str):
        return None
    if not isinstance(text, str):
        return None
    return NotebookNode(output_type="stream", name=name, text=text)


def _asks_to_end(reply: Mapping[str, Any]) -> bool:
    """Return whether a front end should end the kernel, see "payloads" in Jupyter's messaging protocol."""
    payload = reply.get("payload")
    entries = payload if isinstance(payload, list) else []
    return any(
        isinstance(entry, dict)
        and entry.get("source") == "ask_exit"
        and not entry.get("keepkernel")
        for entry in entries
    )
