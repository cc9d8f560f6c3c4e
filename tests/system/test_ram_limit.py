"""``ram_limit``: what takes more than its declared RAM is killed, and nothing else is."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import psutil  # noqa: TID253  to look at processes
import pytest
from workbench import Finished, Tree, printed

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.xdist,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells shared pages apart"),
]

LIMIT = '[resources]\nram = "250MB"\nram_limit = true\n'
CHILD = """
import os, subprocess, sys, time
code = '''
import time
input()
block = bytearray(b"x") * 220_000_000
time.sleep(30)
'''
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)
print(child.pid, flush=True)
child.stdin.write(b"take it\\n")
child.stdin.flush()
time.sleep(30)
"""
READERS = """
import os
block = bytearray(b"x") * 120_000_000
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        sum(block[::4096])
        import time
        time.sleep(1.5)
        os._exit(0)
    children.append(pid)
for pid in children:
    os.waitpid(pid, 0)
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("ram_limit"))
    for name, cell in {"child": CHILD, "readers": READERS}.items():
        tree.notebook(name, "1-run.ipynb", "print('before')", cell, "print('after')")
        tree.notebook(name, "2-next.ipynb", "pass")
        tree.toml(name, LIMIT)
    yield tree
    tree.close()


@pytest.fixture(scope="module")
def run(tree: Tree) -> Finished:
    return tree.pytest("-n", "2")


def test_a_tree_above_its_limit_is_killed(run: Finished) -> None:
    """Kernel and child have too much together; the message has the size as declared, and the cell."""
    failure = run.failure("child")
    assert failure["kind"] == "ram_limit"
    assert failure["message"].startswith("cell 2 of 3 used 2")
    assert failure["message"].endswith(
        "MB, more than its declared ram of 250MB; it was killed (ram_limit)"
    )
    assert failure["evidence"][0].startswith("it had 2 processes, the largest with 2")
    assert run.outcomes("child") == ["failed", "not_run"]


def test_the_child_is_killed_with_it(run: Finished) -> None:
    """Though it has a session of its own; what the cell had printed is saved."""
    before, cell, _ = run.executed("child", "1-run.ipynb").cells
    assert printed(before) == "before\n"
    assert not psutil.pid_exists(int(printed(cell)))


def test_shared_pages_kill_nobody(run: Finished) -> None:
    """The sum of what five processes have is far above the limit; what they have together is below."""
    assert run.outcomes("readers") == ["passed", "passed"]
