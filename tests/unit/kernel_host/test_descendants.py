"""What is below a process. The tree is one of numbers here."""

from __future__ import annotations

import os
import sys

import pytest

from pytest_nbgroups.kernel_host import descendants as module

TREE = {1: [2, 3], 2: [4], 3: [], 4: [5, 6], 5: [], 6: []}


@pytest.fixture
def _tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "lists_children", lambda: True)
    monkeypatch.setattr(module, "children", lambda pid: TREE.get(pid, []))


@pytest.mark.usefixtures("_tree")
def test_parents_come_before_their_children() -> None:
    """So that who kills them in this order leaves nobody to start more."""
    assert module.descendants(1) == [2, 3, 4, 5, 6]
    assert module.descendants(4) == [5, 6]
    assert module.descendants(9) == []


@pytest.mark.usefixtures("_tree")
def test_what_is_apart_is_left_out_with_all_below() -> None:
    """The server that kernels are forked from is of no kernel's tree."""
    assert module.descendants(1, apart=2) == [3]
    assert module.descendants(1, apart=9) == [2, 3, 4, 5, 6]


def test_processes_that_have_ended() -> None:
    """They have no children and no command, and are named by their number."""
    pid = 2**22 + 1  # above the largest that Linux gives
    assert module.children(pid) == []
    assert module.command(pid) == []
    assert module._descendants_by_parent_links(pid) == []
    assert module.describe(pid) == f"pid {pid}"


def test_this_process() -> None:
    """By name, number and state, with its command and in its group."""
    assert module.describe(os.getpid()).endswith(f"(pid {os.getpid()}, running)")
    assert module.command(os.getpid())
    if sys.platform != "win32":
        assert os.getpid() in module.group(os.getpgrp())


@pytest.mark.skipif(not module.lists_children(), reason="this Linux does not list children")
def test_both_ways_find_the_same() -> None:
    """Where the kernel lists no children, the links of the processes to their parents do."""
    assert set(module._descendants_by_parent_links(os.getpid())) == set(
        module.descendants(os.getpid())
    )
