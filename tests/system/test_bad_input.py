"""Files that are no notebooks and kernels that are not there: told by name, and the others run."""

from __future__ import annotations

import ctypes
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from workbench import Finished, Tree, printed

if sys.platform == "win32":
    pytest.skip("uses POSIX permissions and links", allow_module_level=True)

pytestmark = [pytest.mark.timeout(300), pytest.mark.xdist]

FILE = "2-bad.ipynb"
PR_CAPBSET_DROP = 24
CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 1, 2

CONFLICT = """{
 "cells": [
<<<<<<< HEAD
 ],
=======
 ]
>>>>>>> branch
}
"""
BAD_FILES: dict[str, tuple[bytes, str]] = {
    "empty": (
        b"",
        f"{FILE} is empty; save a notebook in it, remove it, or list it under exclude",
    ),
    "blank": (b"\n \n", f"{FILE} is empty; save a notebook in it, remove it, or list it"),
    "no-notebook": (
        b'{"a": 1}',
        f"{FILE} is JSON but not a notebook: it has no nbformat number; restore it, or give it",
    ),
    "a-list": (b"[]", f"{FILE} is JSON but not a notebook: it has no nbformat number"),
    "binary": (bytes(range(256)), f"{FILE} is not UTF-8 text"),
    "latin-1": ('{"nbformat": 4, "é": 1}'.encode("latin-1"), f"{FILE} is not UTF-8 text"),
    "conflict": (CONFLICT.encode(), f"{FILE} has a merge conflict (line 3: <<<<<<<); resolve it"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid x\n",
        f"{FILE} is a Git LFS pointer;",
    ),
    "null": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": null, "cells": []}',
        f"{FILE} is not a valid notebook of format 4: metadata is null, expected an object;",
    ),
    "truncated": (b'{"nbformat": 4, "cells": [', f"{FILE} is not JSON ("),
    "deep": (b"[" * 100_000, f"{FILE} is not JSON ("),
    "no-cells": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}}',
        "not a valid notebook of format 4: cells is missing, expected a list; correct it in a text editor",
    ),
    "odd-cell": (
        b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
        f"{FILE} is not a valid notebook of format 4: ",
    ),
    "format-99": (b'{"nbformat": 99, "cells": []}', f"{FILE} is not a valid notebook of format 99"),
}
KERNELS = {
    "unknown": "no kernel named 'nowhere' is installed (installed: gone, python3, quits); "
    "choose one of python3, quits with --experiment-kernel, or install it with: python -m ipykernel install --user --name nowhere",
    "gone": "starts '/no/such/python', which is missing or not executable; install it again with: ",
    "quits": "kernel 'quits' ended before it was ready (exit code 7); the end of its log",
}


def _old(number: int) -> dict[str, Any]:
    """A notebook as IPython of the time wrote it."""
    source = f"open('format', 'w').write('{number}')\nprint('ran', {number})"
    cell: dict[str, Any]
    if number == 4:
        cell = {
            "cell_type": "code",
            "metadata": {},
            "source": [source],
            "outputs": [],
            "execution_count": None,
        }
        return {"nbformat": 4, "nbformat_minor": 0, "metadata": {}, "cells": [cell]}
    cell = {
        "cell_type": "code",
        "input": source,
        "language": "python",
        "outputs": [],
        "collapsed": False,
        "prompt_number": 1,
    }
    metadata = {"name": "old"}
    sheets = [{"cells": [cell], "metadata": {}}]
    return {"nbformat": number, "nbformat_minor": 0, "metadata": metadata, "worksheets": sheets}


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("bad"))
    for name, (content, _) in BAD_FILES.items():
        tree.file(name, FILE, content)
        tree.notebook(name, "3-after.ipynb", "open('ran', 'w')")
    for name in KERNELS:
        tree.notebook(name, FILE, "1", kernel="nowhere" if name == "unknown" else name)
    tree.kernelspec("gone", ["/no/such/python", "-f", "{connection_file}"])
    quits = "import sys\nprint('no module named what', file=sys.stderr)\nsys.exit(7)"
    tree.kernelspec("quits", [sys.executable, "-c", quits])
    for number in (2, 3, 4):
        tree.file(f"format-{number}", "1-old.ipynb", json.dumps(_old(number)))
    tree.notebook("unreadable", FILE, "1").chmod(0)
    tree.notebook("dangling", "1-good.ipynb", "1")
    (tree.directory("dangling") / FILE).symlink_to("nowhere.ipynb")
    tree.notebook("folder", "1-good.ipynb", "1")
    (tree.directory("folder") / FILE).mkdir()
    tree.file("bom", "1-bom.ipynb", b"\xef\xbb\xbf" + json.dumps(_old(4)).encode())
    tree.notebook("good", "1-good.ipynb", "print('good')")
    yield tree
    tree.close()


def _without_privileges() -> None:
    """Let a superuser read only what the permissions allow."""
    if os.geteuid() == 0 and sys.platform == "linux":
        for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
            ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture(scope="module")
def run(tree: Tree) -> Finished:
    """One run of all of them."""
    return tree.pytest("-n", "2", preexec=_without_privileges)


def test_the_others_run(run: Finished) -> None:
    """Every experiment is told, and the good one passes."""
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert "INTERNALERROR" not in run.text
    outcomes = {e["name"]: e["outcome"] for e in run.session["experiments"]}
    assert sorted(outcomes) == sorted(p.name for p in (run.root / "experiments").iterdir())
    assert outcomes["good"] == "passed"
    (cell,) = run.executed("good", "1-good.ipynb").cells
    assert printed(cell) == "good\n"


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file(run: Finished, name: str) -> None:
    """The message names the file, the reason and the remedy; nothing after it runs."""
    failure = run.failure(name)
    assert failure["kind"] == "notebook"
    assert BAD_FILES[name][1] in failure["message"]
    assert failure["message"].startswith(FILE)
    assert ";" in failure["message"]
    assert run.outcomes(name) == ["failed", "not_run"]
    assert not (run.root / "experiments" / name / "ran").exists()
    assert f"FAILED experiments/{name}::notebooks - {FILE} " in run.text


@pytest.mark.parametrize("name", KERNELS)
def test_a_bad_kernel(run: Finished, name: str) -> None:
    """The message says what is installed, or what is wrong with what is, and what to do."""
    failure = run.failure(name)
    assert failure["kind"] == "kernel_start"
    assert KERNELS[name] in failure["message"]


def test_a_kernel_that_quits_shows_its_log(run: Finished) -> None:
    """What it has written tells why."""
    assert "no module named what" in run.failure("quits")["message"]
    assert "no module named what" in run.text


@pytest.mark.parametrize("number", [2, 3, 4])
def test_an_old_format_is_upgraded_and_run(run: Finished, number: int) -> None:
    """In memory: the executed notebook is of format 4, the user's file is as it was."""
    name = f"format-{number}"
    assert run.outcomes(name) == ["passed"]
    assert (run.root / "experiments" / name / "format").read_text() == str(number)
    executed = run.executed(name, "1-old.ipynb")
    assert executed.nbformat == 4
    assert printed(executed.cells[0]) == f"ran {number}\n"
    file = run.root / "experiments" / name / "1-old.ipynb"
    assert json.loads(file.read_text()) == _old(number)


def test_a_byte_order_mark(run: Finished) -> None:
    """Some editors write one; it does no harm."""
    assert run.outcomes("bom") == ["passed"]


def test_an_unreadable_file(run: Finished) -> None:
    """It is named, with what the operating system says."""
    if run.experiment("unreadable")["outcome"] == "passed":
        pytest.skip("this superuser cannot be kept from reading")
    assert run.failure("unreadable")["message"] == f"{FILE} cannot be read: Permission denied"


def test_a_folder_with_the_name_of_a_notebook(run: Finished) -> None:
    """It is a folder, and no part of the experiment."""
    assert run.outcomes("folder") == ["passed"]


def test_a_dangling_link(run: Finished) -> None:
    """A step that is not there is told of, rather than left out in silence."""
    assert run.experiment("dangling")["outcome"] == "failed"
    assert FILE in run.failure("dangling")["message"]
