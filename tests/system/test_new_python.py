"""What a new Python loads, and how it runs the package as a program."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HEAVY = {
    "asyncio",
    "jupyter_client",
    "nbclient",
    "nbformat",
    "psutil",
    "pynvml",
    "sqlite3",
    "zmq",
}


def modules_after(*statements: str) -> set[str]:
    """Modules of a new Python that the last statement brings in."""
    *before, last = statements
    program = (
        f"import json, sys; {'; '.join([*before, 'pass'])}; before = set(sys.modules); {last}; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    return set(json.loads(output))


def test_the_plugin_brings_in_nothing_heavy() -> None:
    """Every run of pytest in the environment loads it, mostly for nothing."""
    loaded = modules_after("import pytest", "import pytest_nbgroups.plugin")
    assert "pytest_nbgroups.integration.options.resolve" in loaded
    assert not HEAVY & loaded


def test_the_core_does_not_load_pytest() -> None:
    """The Python API serves programs that know nothing of tests."""
    loaded = modules_after("from pytest_nbgroups import run_experiment")
    assert not {"pytest", "_pytest", "xdist"} & loaded


def test_the_host_imports_little() -> None:
    """It starts fast and stays small: none of the packages that run notebooks."""
    heavy = {"asyncio", "jupyter_client", "nbclient", "nbformat", "psutil", "pytest", "zmq"}
    code = f"import sys, pytest_nbgroups.kernel_host.host; print({heavy!r} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


def notebook(path: Path, *sources: str) -> Path:
    cells = [{"cell_type": "code", "source": source} for source in sources]
    content = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_ipython_is_imported_only_where_it_is_needed(tmp_path: Path) -> None:
    """It takes longer than reading a hundred notebooks."""
    plain = notebook(tmp_path / "1.ipynb", "x = 5 % 2\nprint('Ready?!')", "%%time\nm.cuda()")
    magic = notebook(tmp_path / "2.ipynb", "%matplotlib inline\nf(n_jobs=2)")
    program = (
        "import sys; from pathlib import Path; from pytest_nbgroups.core.model import *; "
        "from pytest_nbgroups.notebooks.scanning import scan; "
        "run = lambda path: scan(Experiment(name='A', directory=path, "
        "notebooks=(Notebook(path=path),))); "
        "hints = [run(Path(path)) for path in sys.argv[1:]]; "
        "print(hints[0].may_use_gpu, 'IPython' in sys.modules, 'nbformat' in sys.modules)"
    )
    for paths, loaded in (([plain], "True False False"), ([plain, magic], "True True False")):
        command = [sys.executable, "-c", program, *map(str, paths)]
        assert subprocess.check_output(command, text=True).split() == loaded.split()


def test_help_of_the_program() -> None:
    """It runs as a module, and lists its commands."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest_nbgroups", "--help"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert told.startswith("usage: python -m pytest_nbgroups [-h] COMMAND ...")
    assert "merge     join the records of the shards of one run" in told
