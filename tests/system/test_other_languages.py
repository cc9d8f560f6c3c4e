"""Which kernel a notebook gets, in which language, and how it is talked to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import nbformat  # noqa: TID253  to write a notebook
import pytest
from nbformat.v4 import new_notebook  # noqa: TID253
from workbench import Finished, Tree, code, printed

if sys.platform == "win32":
    pytest.skip("runs bash", allow_module_level=True)
pytest.importorskip("bash_kernel")

pytestmark = pytest.mark.timeout(300)

FOUR = ("run", "own", "ini", "option")
"""Python kernels, which know their name."""
MAKE = """
echo 'from bash' > made
file=$(ps -o args= -ww -p $PPID | sed 's/.* //')
grep -o '"transport": "[a-z]*"' "$file"
"""
SHOW = """
import json, os
from ipykernel.connect import get_connection_info
print(os.environ.get("WHICH", "its own"), json.loads(get_connection_info())["transport"])
"""
READ = "print(open('made').read(), end='')"


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What the notebooks of a run have printed."""

    run: Finished
    texts: dict[str, str]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    tree = Tree(tmp_path_factory.mktemp("languages"))
    for name in FOUR:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        tree.kernelspec(name, argv, env={"WHICH": name})
    spec = tree.root / "jupyter/kernels/run/kernel.json"
    spec.write_text(
        json.dumps({**json.loads(spec.read_text()), "unknown": "traitlets warns of it"})
    )
    tree.kernelspec(
        "bash", [sys.executable, "-m", "bash_kernel", "-f", "{connection_file}"], "bash"
    )
    tree.notebook("mixed", "1-make.ipynb", MAKE, kernel="bash", language="bash")
    tree.notebook("mixed", "2-use.ipynb", SHOW, READ)
    alone = new_notebook(cells=[code("cat made")], metadata={"language_info": {"name": "bash"}})
    tree.file("mixed", "3-language.ipynb", nbformat.writes(alone))
    tree.notebook("asked", "1-run.ipynb", SHOW)
    tree.notebook("asked", "2-own.ipynb", SHOW)
    tree.toml("asked", '[run]\nkernel = "run"\n[notebooks."2-own.ipynb"]\nkernel = "own"\n')
    yield tree
    tree.close()


def _seen(tree: Tree, *arguments: str) -> Seen:
    run = tree.pytest(*arguments)
    assert run.returncode == 0, run.text
    executed = (tree.root / ".experiments/notebooks").glob("*/*.ipynb")
    return Seen(
        run=run,
        texts={
            path.name: "".join(map(printed, run.executed(path.parent.name, path.name).cells))
            for path in executed
        },
    )


def test_as_declared(tree: Tree) -> None:
    """Each notebook's own kernel, ipykernel over IPC, bash over TCP; what is declared comes first.

    A notebook that states only its language gets the kernel for it.
    """
    seen = _seen(tree)
    assert seen.texts == {
        "1-make.ipynb": '"transport": "tcp"\n',
        "2-use.ipynb": "its own ipc\nfrom bash\n",
        "3-language.ipynb": "from bash\n",
        "1-run.ipynb": "run ipc\n",
        "2-own.ipynb": "own ipc\n",
    }
    kernels = [n["kernel"] for name in ("mixed", "asked") for n in seen.run.notebooks(name)]
    assert kernels == ["bash", "python3", "bash", "run", "own"]
    make, use = (seen.run.executed("mixed", name) for name in ("1-make.ipynb", "2-use.ipynb"))
    assert [n.metadata.language_info.name for n in (make, use)] == ["bash", "python"]


def test_from_the_command_line(tree: Tree) -> None:
    """The option wins over every declaration, for the notebooks of its language alone; the others are told of."""
    seen = _seen(tree, "--experiment-kernel=option", "-o", "experiment_transport=tcp")
    told = "--experiment-kernel option is for python, so notebooks in bash do not use it"
    assert seen.run.text.count(told) == 1
    assert seen.texts == {
        "1-make.ipynb": '"transport": "tcp"\n',
        "2-use.ipynb": "option tcp\nfrom bash\n",
        "3-language.ipynb": "from bash\n",
        "1-run.ipynb": "option tcp\n",
        "2-own.ipynb": "option tcp\n",
    }


def test_from_the_ini_file(tree: Tree) -> None:
    """The ini key wins over the notebook's own kernel and over no declaration."""
    seen = _seen(tree, "-o", "experiment_kernel=ini", "-o", "experiment_transport=ipc")
    assert seen.texts == {
        "1-make.ipynb": '"transport": "ipc"\n',
        "2-use.ipynb": "ini ipc\nfrom bash\n",
        "3-language.ipynb": "from bash\n",
        "1-run.ipynb": "run ipc\n",
        "2-own.ipynb": "own ipc\n",
    }


def test_a_kernel_of_the_command_line_that_is_not_there(tree: Tree) -> None:
    """Every notebook that would need it fails with the installed ones."""
    run = tree.pytest("experiments/asked", "--experiment-kernel=nowhere")
    assert run.returncode == pytest.ExitCode.TESTS_FAILED
    assert run.failure("asked")["message"].startswith(
        "no kernel named 'nowhere' is installed (installed: bash, ini, option, own, python3, run); "
        "choose one of them with --experiment-kernel, or install it with: "
    )
