"""What other users of the machine can see of a session, and who can reach its kernels."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from workbench import Tree

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(sys.platform == "win32", reason="modes of POSIX"),
]

CONNECTION = """
import json, os, stat
from pathlib import Path
from ipykernel.connect import get_connection_file, get_connection_info
file = Path(get_connection_file())
told = json.loads(get_connection_info())
mode = lambda path: stat.S_IMODE(path.stat().st_mode)
sockets = [p.name for p in file.parent.iterdir() if stat.S_ISSOCK(p.stat().st_mode)]
listening = []
for table in ("tcp", "tcp6"):
    if Path("/proc/net", table).exists():
        own = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")
               if os.path.lexists(f"/proc/self/fd/{fd}")}
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in own:
                listening.append(fields[1].partition(":")[0])
Path("told.json").write_text(json.dumps({**told, "file": mode(file), "folder": mode(file.parent),
    "sockets": sockets, "listening": listening}))
print("secret")
"""
LOOPBACK = "0100007F"  # as /proc/net/tcp writes 127.0.0.1


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("privacy"))
    tree.notebook("A", "1-tell.ipynb", CONNECTION)
    tree.notebook("B", "1-tell.ipynb", CONNECTION)
    yield tree
    tree.close()


def run(tree: Tree, transport: str) -> list[dict[str, Any]]:
    """Run with a strict umask; give what each kernel tells of its connection."""
    ended = tree.pytest(f"-oexperiment_transport={transport}", preexec=lambda: os.umask(0o077))
    assert ended.returncode == 0, ended.text
    return [json.loads((tree.directory(name) / "told.json").read_text()) for name in "AB"]


@pytest.mark.parametrize("transport", ["ipc", "tcp"])
def test_only_its_user_can_reach_a_kernel(tree: Tree, transport: str) -> None:
    """By sockets in a private folder or on loopback alone, with a random key that nobody can read."""
    told = run(tree, transport)
    for kernel in told:
        assert kernel["transport"] == transport
        assert kernel["signature_scheme"] == "hmac-sha256"
        assert len(kernel["key"]) >= 32
        assert kernel["folder"] & 0o077 == 0
        assert kernel["file"] & 0o077 == 0
        if transport == "tcp":
            assert kernel["ip"] == "127.0.0.1"
        else:
            assert len(kernel["sockets"]) >= 4
        assert set(kernel["listening"]) <= {LOOPBACK}
        if transport == "tcp" and sys.platform == "linux":  # elsewhere nothing tells
            assert kernel["listening"]
    assert told[0]["key"] != told[1]["key"]
    assert modes_for_others(tree.root / ".experiments") == []


def modes_for_others(folder: Path) -> list[str]:
    """What of a folder anyone but its user can read."""
    found = [folder, *folder.rglob("*")]
    assert {path.suffix for path in found} >= {".ipynb", ".json", ".sqlite"}
    return [str(path) for path in found if path.stat().st_mode & 0o077]
