"""The real pynvml, in a process of its own, against the fake NVML library."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pytest_nbgroups.machine.gpu import GpuFindings, find_gpus

MIB = 2**20
PROGRAM = """
import dataclasses, json, os
from pytest_nbgroups.machine.gpu import find_gpus
print(json.dumps(dataclasses.asdict(find_gpus(os.environ))))
"""
Find = Callable[..., dict[str, Any]]


@pytest.fixture
def find(fake_nvml: Callable[[Path], dict[str, str]], tmp_path: Path) -> Find:
    """Find the GPUs that a text describes, under further variables."""

    def run(description: str, **variables: str) -> dict[str, Any]:
        file = tmp_path / "gpus.txt"
        file.write_text(description)
        hidden = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER")
        env = {name: value for name, value in os.environ.items() if name not in hidden}
        env |= fake_nvml(file) | variables
        command = [sys.executable, "-c", PROGRAM]
        output = subprocess.run(command, env=env, check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(output.stdout)
        return found

    return run


def host_bytes() -> int:
    import psutil

    return psutil.virtual_memory().total


def uuids(found: dict[str, Any]) -> list[str]:
    return [gpu["uuid"] for gpu in found["gpus"]]


def test_gpus(find: Find) -> None:
    """Each GPU tells its UUID, index, name, memory in bytes and utilisation from 0 to 1."""
    found = find(
        "gpu uuid=GPU-a name=NVIDIA_A100 total=81920 used=20480 util=35\n"
        "gpu uuid=GPU-b name=NVIDIA_A100 total=81920\n"
    )
    assert found["gpus"][0] == {
        "uuid": "GPU-a",
        "index": 0,
        "name": "NVIDIA A100",
        "total_bytes": 81920 * MIB,
        "free_bytes": 61440 * MIB,
        "utilization": 0.35,
        "unified": False,
        "usable": True,
        "parent_uuid": None,
    }
    assert uuids(found) == ["GPU-a", "GPU-b"]
    assert found["gpus"][1]["index"] == 1
    assert (found["reason"], found["notes"]) == ("", [])


def test_variables(find: Find) -> None:
    """CUDA's variable chooses and orders, then the container's leaves out what it does not own."""
    three = "gpu uuid=GPU-a\ngpu uuid=GPU-b\ngpu uuid=GPU-c\n"
    found = find(three, CUDA_VISIBLE_DEVICES="2,1,7", NVIDIA_VISIBLE_DEVICES="GPU-a,GPU-b")
    assert uuids(found) == ["GPU-b"]
    assert found["notes"] == ["CUDA ignores CUDA_VISIBLE_DEVICES='2,1,7' from '7' on"]


@pytest.mark.parametrize(
    ("variables", "reason"),
    [
        ({"CUDA_VISIBLE_DEVICES": ""}, "CUDA_VISIBLE_DEVICES=''"),
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, "CUDA_VISIBLE_DEVICES='0,0' names a GPU twice"),
        (
            {"NVIDIA_VISIBLE_DEVICES": "GPU-x"},
            "NVIDIA_VISIBLE_DEVICES grants none of the GPUs found",
        ),
    ],
)
def test_none_visible(find: Find, variables: dict[str, str], reason: str) -> None:
    """Where the environment hides every GPU, the reason names the variable."""
    found = find("gpu uuid=GPU-a\n", **variables)
    assert (found["gpus"], found["reason"], found["notes"]) == ([], reason, [])


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("", "no NVIDIA GPU"),
        ("fail nvmlInit 12\n", "no NVIDIA driver"),
        ("fail nvmlInit 9\n", "the NVIDIA driver is not loaded"),
        (
            "fail nvmlInit 18\ngpu uuid=GPU-a\n",
            "NVML: driver and NVML library differ in version; restart after a driver update",
        ),
        ("fail nvmlInit 4\ngpu uuid=GPU-a\n", "NVML: Insufficient Permissions"),
        ("fail nvmlInit 77\ngpu uuid=GPU-a\n", "NVML: Unknown Error"),
        ("fail nvmlDeviceGetCount 999\ngpu uuid=GPU-a\n", "NVML: Unknown Error"),
    ],
)
def test_no_gpus(find: Find, description: str, reason: str) -> None:
    """Without GPUs, or with an NVML that fails, there are none and the reason says why."""
    found = find(description)
    assert (found["gpus"], found["reason"], found["notes"]) == ([], reason, [])


@pytest.mark.parametrize(
    "function", ["nvmlDeviceGetHandleByIndex", "nvmlDeviceGetUUID", "nvmlDeviceGetMemoryInfo"]
)
def test_lost_gpu(find: Find, function: str) -> None:
    """A GPU that is lost, wherever that shows, is left out with a note; the others stay."""
    found = find(f"gpu uuid=GPU-a\nfail {function} 15\ngpu uuid=GPU-b\n")
    assert uuids(found) == ["GPU-b"]
    assert found["gpus"][0]["index"] == 1
    assert found["notes"] == ["GPU 0 is left out: GPU is lost"]


def test_all_lost(find: Find) -> None:
    """Where every GPU fails, the reason stands beside the notes."""
    found = find("gpu uuid=GPU-a\nfail nvmlDeviceGetUUID 15\n")
    assert (found["gpus"], found["reason"]) == ([], "no NVIDIA GPU is usable")
    assert found["notes"] == ["GPU 0 is left out: GPU is lost"]


def test_index_of_lost_gpu(find: Find) -> None:
    """A lost GPU keeps its index, so that an index names the GPU that it always named."""
    lost = "gpu uuid=GPU-a\nfail nvmlDeviceGetUUID 15\ngpu uuid=GPU-b\n"
    assert uuids(find(lost, CUDA_VISIBLE_DEVICES="1")) == ["GPU-b"]
    assert uuids(find(lost, CUDA_VISIBLE_DEVICES="0,1")) == []


def test_failing_shutdown(find: Find) -> None:
    """What was found stays found when NVML cannot be closed."""
    assert uuids(find("fail nvmlShutdown 999\ngpu uuid=GPU-a\n")) == ["GPU-a"]


def test_what_can_be_done_without(find: Find) -> None:
    """Name, utilisation, compute mode and MIG mode have a stand-in where NVML cannot say."""
    questions = ("Name", "UtilizationRates", "ComputeMode", "MigMode")
    failures = "".join(f"fail nvmlDeviceGet{question} 3\n" for question in questions)
    (gpu,) = find("gpu uuid=GPU-a util=50\n" + failures)["gpus"]
    assert (gpu["name"], gpu["utilization"], gpu["usable"]) == ("NVIDIA GPU", 0.0, True)


@pytest.mark.parametrize("total", ["none", "0"])
def test_unified_memory(find: Find, total: str) -> None:
    """A GPU without memory of its own has the host's."""
    (gpu,) = find(f"gpu uuid=GPU-a name=NVIDIA_GB10 total={total}\n")["gpus"]
    assert gpu["unified"]
    assert gpu["total_bytes"] == host_bytes()
    assert 0 < gpu["free_bytes"] <= gpu["total_bytes"]


def test_mig(find: Find) -> None:
    """A GPU in MIG mode is given as its MIG devices, each with its own memory."""
    found = find(
        "gpu uuid=GPU-a\n"
        "gpu uuid=GPU-b mig=1\n"
        "mig uuid=MIG-1 name=A100_MIG_3g.40gb total=40448 used=448\n"
        "mig uuid=MIG-2 total=20224\n"
    )
    assert uuids(found) == ["GPU-a", "MIG-1", "MIG-2"]
    part = found["gpus"][1]
    assert (part["index"], part["parent_uuid"], part["utilization"]) == (1, "GPU-b", 0.0)
    assert (part["total_bytes"], part["free_bytes"]) == (40448 * MIB, 40000 * MIB)
    assert found["notes"] == []


def test_mig_mode_off(find: Find) -> None:
    """A GPU that could be divided but is not counts as itself."""
    assert uuids(find("gpu uuid=GPU-a mig=0\n")) == ["GPU-a"]


def test_mig_without_devices(find: Find) -> None:
    """A GPU in MIG mode that is not divided cannot run anything."""
    found = find("gpu uuid=GPU-a mig=1\ngpu uuid=GPU-b\n")
    assert uuids(found) == ["GPU-b"]
    assert found["notes"] == ["GPU 0 is left out: in MIG mode without a MIG device"]


def test_prohibited(find: Find) -> None:
    """A GPU whose compute mode is prohibited is left out with a note but keeps its index."""
    found = find("gpu uuid=GPU-a mode=2\ngpu uuid=GPU-b mode=3\n")
    assert uuids(found) == ["GPU-b"]
    assert found["notes"] == ["GPU 0 is left out: its compute mode is prohibited"]


def test_prohibited_mig(find: Find) -> None:
    """The compute mode of a MIG device is that of its GPU."""
    found = find("gpu uuid=GPU-a mig=1 mode=2\nmig uuid=MIG-1\n")
    assert (found["gpus"], found["reason"]) == ([], "no NVIDIA GPU is usable")


def test_only_prohibited(find: Find) -> None:
    """With no other GPU, and a hidden one not spoken of, there is none usable."""
    found = find("gpu uuid=GPU-a mode=2\ngpu uuid=GPU-b mode=2\n", CUDA_VISIBLE_DEVICES="0")
    assert (found["gpus"], found["reason"]) == ([], "no NVIDIA GPU is usable")
    assert found["notes"] == ["GPU 0 is left out: its compute mode is prohibited"]


def test_unlike_gpus(find: Find) -> None:
    """Indices of unlike GPUs are used as NVML's, with a warning."""
    found = find("gpu uuid=GPU-a name=T4\ngpu uuid=GPU-b name=A100\n", CUDA_VISIBLE_DEVICES="1")
    assert uuids(found) == ["GPU-b"]
    expected = (
        "CUDA may number GPUs of different models in another order than CUDA_VISIBLE_DEVICES means; "
        "set CUDA_DEVICE_ORDER=PCI_BUS_ID"
    )
    assert found["notes"] == [expected]


def test_garbled_name(find: Find, tmp_path: Path) -> None:
    """A name that is not UTF-8 is no reason to lose the GPU."""
    described = tmp_path / "garbled.txt"
    described.write_bytes(b"gpu uuid=GPU-a name=\xf8\xff\n")
    (gpu,) = find("", FAKE_NVML=str(described))["gpus"]
    assert gpu["name"] == "NVIDIA GPU"


def test_without_pynvml(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-ml-py there are no GPUs, and it is named."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert find_gpus({}) == GpuFindings(reason="nvidia-ml-py is not installed")


def test_real_machine() -> None:
    """On this machine, whatever it has, there are GPUs or a reason why not."""
    found = find_gpus(os.environ)
    assert bool(found.gpus) != bool(found.reason)
