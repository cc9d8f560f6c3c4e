"""Limits of what xdist can do for experiments, and its number of workers."""

from __future__ import annotations

import os

import pytest

AUTO = "PYTEST_XDIST_AUTO_NUM_WORKERS"


def refuse_unsupported(config: pytest.Config) -> None:
    """Raise pytest.UsageError for what would run an experiment twice, or out of reach."""
    if config.getoption("dist", "no") == "each":
        raise pytest.UsageError(
            "--run-experiments with --dist each: every worker would run every experiment in the "
            "same directories at once; use --dist load"
        )
    for spec in config.getoption("tx", None) or ():
        if "popen" not in spec or "chdir=" in spec or "via=" in spec:
            raise pytest.UsageError(
                f"--run-experiments with --tx {spec}: experiments run on this machine, in the "
                "directories of this checkout; use -n"
            )


def worker_count(config: pytest.Config) -> int:
    """Return how many workers there will be; 0 if everything runs in this process."""
    # A spec such as 4*popen stands for several workers.
    counts = (spec.partition("*")[0] for spec in config.getoption("tx", None) or ())
    return sum(int(count) if count.isdigit() else 1 for count in counts)


def user_decides(config: pytest.Config) -> bool:
    """Return whether the user decides on ``-n auto``: by xdist's variable or in a conftest.py."""
    if os.environ.get(AUTO):
        return True
    implementations = config.hook.pytest_xdist_auto_num_workers.get_hookimpls()
    conftests = config.pluginmanager._conftest_plugins  # noqa: SLF001  pluggy knows no kinds
    return any(implementation.plugin in conftests for implementation in implementations)
