"""The fake NVML library answers the unchanged pynvml as a real one does."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MIB = 2**20
PROLOGUE = """
import os, pynvml
pynvml.nvmlInit()
def describe(text):
    with open("new.txt", "w") as file:
        file.write(text)
    os.replace("new.txt", os.environ["FAKE_NVML"])
describe('''
gpu uuid=GPU-a total=1000 used=300 mig=1
process pid=11 used=200
process pid=12 used=100
mig uuid=MIG-1 total=500
process pid=13 used=50
gpu uuid=GPU-b
fail nvmlDeviceGetName 15
''')
handle = pynvml.nvmlDeviceGetHandleByIndex(0)
"""

Ask = Callable[[str], str]


@pytest.fixture
def ask(fake_nvml: Callable[[Path], dict[str, str]], tmp_path: Path) -> Ask:
    """Run a program against two described GPUs and return what it prints."""
    env = os.environ | fake_nvml(tmp_path / "gpus.txt")
    (tmp_path / "gpus.txt").touch()

    def run(program: str) -> str:
        command = [sys.executable, "-c", PROLOGUE + program]
        output = subprocess.PIPE
        done = subprocess.run(command, env=env, cwd=tmp_path, check=True, stdout=output, text=True)
        return done.stdout

    return run


def test_processes(ask: Ask) -> None:
    """The processes on a GPU, with their memory, are those of the lines below it."""
    program = """
for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
    print(process.pid, process.usedGpuMemory)
part = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, 0)
print(pynvml.nvmlDeviceGetComputeRunningProcesses(part)[0].pid)
print(pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle))
print(pynvml.nvmlDeviceGetUUID(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(part)))
"""
    assert ask(program).split("\n")[:-1] == [
        f"11 {200 * MIB}",
        f"12 {100 * MIB}",
        "13",
        "[]",
        "GPU-a",
    ]


def test_memory(ask: Ask) -> None:
    """Both versions of the memory's layout agree."""
    program = """
for version in (None, pynvml.nvmlMemory_v2):
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle, version=version)
    print(memory.total, memory.used, memory.free)
"""
    assert ask(program) == f"{1000 * MIB} {300 * MIB} {700 * MIB}\n" * 2


def test_failures(ask: Ask) -> None:
    """An error befalls the device that it stands below, and a device that there is not, is not found."""
    program = """
def attempt(question, *arguments):
    try:
        print(question(*arguments))
    except pynvml.NVMLError as error:
        print(error)
attempt(pynvml.nvmlDeviceGetName, handle)
attempt(pynvml.nvmlDeviceGetName, pynvml.nvmlDeviceGetHandleByUUID("GPU-b"))
attempt(pynvml.nvmlDeviceGetHandleByUUID, "GPU-x")
attempt(pynvml.nvmlDeviceGetHandleByIndex, 2)
attempt(pynvml.nvmlDeviceGetTemperature, handle, 0)
pynvml.nvmlShutdown()
attempt(pynvml.nvmlDeviceGetCount)
"""
    assert ask(program).splitlines() == [
        "NVIDIA Fake",
        "GPU is lost",
        "Not Found",
        "Invalid Argument",
        "Function Not Found",
        "Uninitialized",
    ]


def test_change(ask: Ask) -> None:
    """Replacing the description changes the hardware under a running program."""
    program = """
describe("gpu uuid=GPU-a total=1000 used=900\\nfail nvmlDeviceGetName 15\\n")
print(pynvml.nvmlDeviceGetCount(), pynvml.nvmlDeviceGetMemoryInfo(handle).free)
"""
    assert ask(program) == f"1 {100 * MIB}\n"
