"""The nbclient that executes cells, without what costs it most where they print much."""

from __future__ import annotations

from typing import Any

from nbclient import NotebookClient
from nbformat import NotebookNode


class CellClient(NotebookClient):
    """Takes what was printed as it is: its check repeats each piece in messages that nobody reads."""

    def output(
        self, outs: list[NotebookNode], msg: dict[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Append an output to those of a cell."""
        printed = _printed(msg)
        is_taken_elsewhere = self.output_hook_stack[msg["parent_header"].get("msg_id")]
        if printed is None or is_taken_elsewhere or self.clear_before_next_output:
            return super().output(outs, msg, display_id, cell_index)
        outs.append(printed)
        return printed


def _printed(msg: dict[str, Any]) -> NotebookNode | None:
    """None for anything but text on a stream, as its schema has it."""
    name, text = (msg["content"].get(key) for key in ("name", "text"))
    if msg["header"]["msg_type"] != "stream" or not isinstance(name, str):
        return None
    if not isinstance(text, str):
        return None
    return NotebookNode(output_type="stream", name=name, text=text)
