"""The tree of processes below a kernel host, as far as it needs no process; see tests/system for the rest."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("POSIX processes", allow_module_level=True)

from pytest_nbgroups.kernel_host.kernel_log import KernelOutput
from pytest_nbgroups.kernel_host.posix_tree import PosixTree
from pytest_nbgroups.kernel_host.program import Program


def test_a_refused_server_leaves_its_output_at_an_end(tmp_path: Path) -> None:
    """Its reader would wait for ever for a writer that nobody closes."""
    tree = PosixTree.__new__(PosixTree)
    tree._subreaper = False
    output = KernelOutput(str(tmp_path / "log"))
    program = Program(argv=["python"], cwd=str(tmp_path), env={})
    with pytest.raises(OSError, match="does not report the parent of an orphan"):
        tree.start_server(program, output)
    assert not output.copy()
