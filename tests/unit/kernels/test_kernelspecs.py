from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.provisioning.factory import KernelProvisionerFactory  # noqa: TID253

from pytest_nbgroups.core.errors import KernelStartError
from pytest_nbgroups.kernels.kernelspecs import (
    canonical_name,
    find_kernel_spec,
    installed_kernels,
    kernels_for,
    language_of,
)

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a kernelspec where only this test finds it."""
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path))

    def write(name: str, argv: list[str], **fields: Any) -> Path:
        path = tmp_path / "kernels" / name / "kernel.json"
        path.parent.mkdir(parents=True)
        spec = {"argv": argv, "display_name": name, "language": "x"} | fields
        path.write_text(json.dumps(spec))
        return path

    return write


def test_an_installed_kernel_is_found(install: Install) -> None:
    """As Jupyter finds it."""
    install("mine", [sys.executable, "-m", "mine"])
    assert find_kernel_spec("mine").argv == [sys.executable, "-m", "mine"]


def test_a_missing_kernel_is_named_with_the_remedy(install: Install) -> None:
    """The installed ones may hold the one that was meant."""
    install("mine", [sys.executable])
    with pytest.raises(KernelStartError) as caught:
        find_kernel_spec("yours")
    text = str(caught.value)
    assert "no kernel named 'yours' is installed" in text
    assert "mine" in text
    assert "python3" in text
    assert text.endswith(
        "choose one of them with --experiment-kernel, "
        "or install it with: python -m ipykernel install --user --name yours"
    )


@pytest.mark.parametrize("name", ["python", "Python", "python3", "PYTHON3"])
def test_names_of_the_native_kernel(install: Install, name: str) -> None:
    """Jupyter's alias and its indifference to capitals hold, also if a kernelspec is called python."""
    install("python", ["/gone"])
    assert canonical_name(name) == "python3"
    assert find_kernel_spec(name).language == "python"


def test_the_remedy_is_for_the_language_of_the_notebook(install: Install) -> None:
    """A kernel for another language is no choice."""
    install("ir-4.3", [sys.executable], language="R")
    install("ir-4.4", [sys.executable], language="R")
    with pytest.raises(KernelStartError) as caught:
        find_kernel_spec("ir", "R")
    assert str(caught.value).endswith(
        "choose one of ir-4.3, ir-4.4 with --experiment-kernel, "
        "or install it with: R -e 'IRkernel::installspec()'"
    )
    with pytest.raises(KernelStartError) as caught:
        find_kernel_spec("Python [Root]", "python")
    assert str(caught.value).endswith("; choose python3 with --experiment-kernel")
    with pytest.raises(KernelStartError) as caught:
        find_kernel_spec("r", "julia")
    assert "--experiment-kernel, or" not in str(caught.value)


def test_kernels_for_a_language(install: Install) -> None:
    """However the language is spelled; a kernel that cannot be started is for none."""
    install("gone", ["/gone/python"], language="python")
    install("xcpp17", [sys.executable], language="C++17")
    install("mine", [sys.executable], language="Python 3")
    install("broken", []).write_text("{")
    assert kernels_for("c++") == ["xcpp17"]
    assert kernels_for("python") == ["mine", "python3"]
    assert kernels_for("R") == []
    assert installed_kernels() == ["broken", "gone", "mine", "python3", "xcpp17"]


def test_a_kernelspec_without_a_language(install: Install) -> None:
    """Is for Python if it runs ipykernel."""
    install("mine", [sys.executable, "-m", "ipykernel_launcher"], language="")
    install("other", [sys.executable, "-m", "other"], language="")
    assert [language_of(find_kernel_spec(name)) for name in ("mine", "other")] == ["python", ""]


def test_what_jupyter_warns_of_is_not_shown(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    """Keys that it does not know, and names that it would not install: pytest could make them errors."""
    install("Old [Root]", [sys.executable], codemirror_mode="x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert find_kernel_spec("Old [Root]").argv == [sys.executable]
        assert "old [root]" in installed_kernels()
    assert not caplog.records


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"metadata": "x"}, "The 'metadata' trait"),
        ({"metadata": {"kernel_provisioner": "x"}}, "metadata.kernel_provisioner is not an object"),
        ({"language": 3}, "The 'language' trait"),
        ({"argv": None}, "The 'argv' trait"),
        ({"argv": ["python", 1]}, "argv is not a list of strings"),
        ({"env": {"A": 1}}, "env has values that are not strings"),
    ],
)
def test_a_malformed_kernelspec_is_named(
    install: Install, fields: dict[str, Any], fault: str
) -> None:
    """With what is wrong in it, and the remedy."""
    install("mine", **{"argv": ["python"], **fields})
    with pytest.raises(KernelStartError) as caught:
        find_kernel_spec("mine")
    text = str(caught.value)
    assert text.startswith(f"the kernelspec of 'mine' cannot be read: {fault}")
    assert text.endswith("install it again with: python -m ipykernel install --user --name mine")


def test_a_missing_executable_is_named(install: Install) -> None:
    """The environment that a kernelspec points to may have been deleted."""
    install("mine", ["/gone/bin/python", "-m", "ipykernel_launcher"])
    with pytest.raises(KernelStartError, match=r"'/gone/bin/python', which is missing"):
        find_kernel_spec("mine")


def test_an_executable_that_cannot_be_executed_is_named(install: Install, tmp_path: Path) -> None:
    """A file without permission is no better than none."""
    (tmp_path / "program").touch(mode=0o600)
    install("mine", [str(tmp_path / "program")])
    with pytest.raises(KernelStartError, match="missing or not executable"):
        find_kernel_spec("mine")


@pytest.mark.parametrize("command", ["python", "python3", "{prefix}/bin/x"])
def test_what_jupyter_fills_in_is_left_to_it(install: Install, command: str) -> None:
    """Plain python means the running interpreter, a template is filled in at the start."""
    install("mine", [command])
    assert find_kernel_spec("mine").argv == [command]


def test_a_broken_kernelspec_is_named(install: Install) -> None:
    """A truncated file is told as such."""
    install("mine", []).write_text('{"argv": [')
    with pytest.raises(KernelStartError, match="the kernelspec of 'mine' cannot be read"):
        find_kernel_spec("mine")


def test_an_empty_argv_is_named(install: Install) -> None:
    """There is nothing to start."""
    install("mine", [])
    with pytest.raises(KernelStartError, match="empty argv"):
        find_kernel_spec("mine")


@pytest.mark.parametrize(
    ("installed", "told"),
    [(True, "the provisioner 'slurm-provisioner'"), (False, "a provisioner that is not installed")],
)
def test_another_provisioner_is_refused(
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    installed: bool,  # noqa: FBT001
    told: str,
) -> None:
    """A kernel that is to run elsewhere cannot be held to what is promised here."""
    monkeypatch.setattr(
        KernelProvisionerFactory, "is_provisioner_available", lambda *_args: installed
    )
    install(
        "mine",
        [sys.executable],
        metadata={"kernel_provisioner": {"provisioner_name": "slurm-provisioner"}},
    )
    with pytest.raises(KernelStartError, match=f"kernel 'mine' asks for {told}, but"):
        find_kernel_spec("mine")
