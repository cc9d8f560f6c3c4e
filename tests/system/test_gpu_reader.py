"""The real pynvml, in a process of its own, against the fake NVML library."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_nbgroups.core.resources import Gpu
from pytest_nbgroups.machine.gpu_reader import GpuReader

MIB = 2**20
PROLOGUE = """
import os, pynvml
from pytest_nbgroups.machine.gpu import find_gpus
from pytest_nbgroups.machine.gpu_reader import GpuReader
def describe(text):
    with open("new.txt", "w") as file:
        file.write(text)
    os.replace("new.txt", os.environ["FAKE_NVML"])
def show(gpus):
    print([(gpu.uuid, gpu.free_bytes // 2**20, gpu.utilization) for gpu in gpus])
def held(pids, gpus=("GPU-a", "GPU-b", "GPU-c", "MIG-1")):
    found = reader.process_memory(pids, gpus)
    print(found if found is None else {uuid: used // 2**20 for uuid, used in found.items()})
opened = 0
def counting(original=pynvml.nvmlInit):
    global opened
    opened += 1
    original()
pynvml.nvmlInit = counting
describe("gpu uuid=GPU-a total=1000 used=300 util=50\\ngpu uuid=GPU-b total=1000\\n")
gpus = find_gpus({}).gpus
opened = 0
reader = GpuReader(pid_namespace="pid:[4026531836]")
"""

Ask = Callable[[str], list[str]]


@pytest.fixture
def ask(fake_nvml: Callable[[Path], dict[str, str]], tmp_path: Path) -> Ask:
    """Run a program and return the lines that it prints."""
    hidden = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    env |= fake_nvml(tmp_path / "gpus.txt")

    def run(program: str) -> list[str]:
        command = [sys.executable, "-W", "ignore", "-c", PROLOGUE + program]
        done = subprocess.run(
            command, env=env, cwd=tmp_path, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.splitlines()

    return run


def test_read(ask: Ask) -> None:
    """What the GPUs have free now, of those that are asked for, in the order of their indices."""
    program = """
show(reader.read(gpus[::-1]))
describe("gpu uuid=GPU-a total=1000 used=900\\ngpu uuid=GPU-b total=1000\\n")
show(reader.read(gpus[:1]))
print(reader.read(()), opened)
"""
    assert ask(program) == [
        "[('GPU-a', 700, 0.5), ('GPU-b', 1000, 0.0)]",
        "[('GPU-a', 100, 0.0)]",
        "() 1",
    ]


def test_lost(ask: Ask) -> None:
    """A GPU that is lost is absent; where all are, there are none; when they are back, they are there."""
    program = """
describe("gpu uuid=GPU-a\\nfail nvmlDeviceGetMemoryInfo 15\\ngpu uuid=GPU-b total=1000\\n")
show(reader.read(gpus))
describe("fail nvmlDeviceGetCount 999\\ngpu uuid=GPU-b total=1000\\n")
show(reader.read(gpus))
held([1])
describe("gpu uuid=GPU-b total=1000\\n")
show(reader.read(gpus))
"""
    assert ask(program) == ["[('GPU-b', 1000, 0.0)]", "[]", "None", "[('GPU-b', 1000, 0.0)]"]


def test_restarted_driver(ask: Ask) -> None:
    """Where NVML was shut down behind its back, it is opened again."""
    program = """
reader.read(gpus)
pynvml.nvmlShutdown()
show(reader.read(gpus[:1]))
reader.close()
show(reader.read(gpus[:1]))
print(opened)
"""
    assert ask(program) == ["[('GPU-a', 700, 0.5)]"] * 2 + ["3"]


def test_forked_child(ask: Ask) -> None:
    """A forked child opens NVML for itself, whatever a thread of its parent was about."""
    program = """
reader.read(gpus)
reader._lock.acquire()
child = os.fork()
if child == 0:
    show(reader.read(gpus[:1]))
    print(opened, flush=True)
    os._exit(0)
os.waitpid(child, 0)
"""
    assert ask(program) == ["[('GPU-a', 700, 0.5)]", "2"]


PROCESSES = """
describe('''
gpu uuid=GPU-a total=1000
process pid=11 used=200
process pid=12 used=100
process pid=13 used=50
gpu uuid=GPU-b total=1000
process pid=13 used=70
gpu uuid=GPU-m total=1000 mig=1
mig uuid=MIG-1 total=500
process pid=11 used=30
''')
"""


def test_processes(ask: Ask) -> None:
    """What processes hold is summed for each GPU and MIG device."""
    program = """
held([11, 12, 99])
held([11, 12, 99], ["GPU-a", "GPU-b"])
held([99])
"""
    assert ask(PROCESSES + program) == [
        "{'GPU-a': 300, 'GPU-b': 0, 'MIG-1': 30}",
        "{'GPU-a': 300, 'GPU-b': 0}",
        "{'GPU-a': 0, 'GPU-b': 0, 'MIG-1': 0}",
    ]


def test_processes_of_a_container(ask: Ask) -> None:
    """In a container NVML is believed once it lists one of ours: else it can be the host's numbers."""
    program = """
reader = GpuReader(pid_namespace="pid:[4026532000]")
held([99])
held([12, 99])
"""
    assert ask(PROCESSES + program) == ["None", "{'GPU-a': 100, 'GPU-b': 0, 'MIG-1': 0}"]


def test_processes_that_nobody_tells(ask: Ask) -> None:
    """A GPU that cannot list its processes, or not what they hold, is absent."""
    program = """
describe('''
gpu uuid=GPU-a
fail nvmlDeviceGetComputeRunningProcesses 3
gpu uuid=GPU-b
process pid=11 used=17592186044415
gpu uuid=GPU-c
process pid=11 used=5
gpu uuid=GPU-d
fail nvmlDeviceGetHandleByIndex 15
''')
original = pynvml.nvmlDeviceGetComputeRunningProcesses
def without_memory(handle):
    found = original(handle)
    for process in found:
        if process.usedGpuMemory > 2**40:
            process.usedGpuMemory = None
    return found
pynvml.nvmlDeviceGetComputeRunningProcesses = without_memory
held([11])
"""
    assert ask(program) == ["{'GPU-c': 5}"]


def test_without_pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-ml-py nothing can be told."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    some = Gpu(uuid="GPU-a", index=0, name="A100", total_bytes=1, free_bytes=1)
    reader = GpuReader()
    assert reader.read([some]) == ()
    assert reader.process_memory([os.getpid()], ["GPU-a"]) is None
    reader.close()
