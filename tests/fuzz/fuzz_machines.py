"""Targets that read what the machine, a container, a scheduler or other users say."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from fuzz_inputs import json_values, mutated, numbers, paths, texts
from hypothesis import strategies as st

from pytest_nbgroups.core.codec import plain
from pytest_nbgroups.core.resources import Claim, Gpu, Need
from pytest_nbgroups.leases import locked_file, tickets
from pytest_nbgroups.machine.cpu import CpuLimit, find_cpus
from pytest_nbgroups.machine.memory import find_ram
from pytest_nbgroups.machine.memory_use import read_memory_use
from pytest_nbgroups.machine.visibility import container_visible, cuda_visible, order_remark
from pytest_nbgroups.scheduling.obstacles import Obstacle, describe

PHYSICAL = 2**34
GPUS = (
    *(
        Gpu(uuid=f"GPU-{n}{n}ab", index=n, name="A100", total_bytes=2**36, free_bytes=2**35)
        for n in range(3)
    ),
    Gpu(
        uuid="MIG-9f",
        index=3,
        name="A100 MIG",
        total_bytes=2**34,
        free_bytes=2**33,
        parent_uuid="GPU-33ab",
    ),
)


def cuda(env: dict[str, str], _folder: Path) -> str:
    """What is visible is of what there is, each once; where nothing is, a remark says why.

    Asked by the UUIDs it is the same again.
    """
    order_remark(GPUS, env)
    for visible in (cuda_visible(GPUS, env), container_visible(GPUS, env)):
        uuids = [gpu.uuid for gpu in visible.gpus]
        assert len(set(uuids)) == len(uuids)
        assert set(visible.gpus) <= set(GPUS)
        assert uuids or visible.remark
    seen = cuda_visible(GPUS, env)
    whole = [gpu for gpu in seen.gpus if gpu.parent_uuid is None]
    again = cuda_visible(GPUS, {"CUDA_VISIBLE_DEVICES": ",".join(gpu.uuid for gpu in whole)})
    assert not whole or list(again.gpus) == whole
    return seen.remark


_entries = st.sampled_from(
    ["0", "1", "2", "3", "-1", "GPU-", "GPU-0", "GPU-11ab", "MIG-", "MIG-9f", "+01", "1gpu", "all"]
)
cuda_values = texts | st.lists(_entries | texts, max_size=5).map(",".join)
cuda_envs = st.dictionaries(
    st.sampled_from(["CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES"]),
    cuda_values,
)

_V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
_V1 = "".join(
    f"31 23 0:28 / /sys/fs/cgroup/{name} rw,nosuid shared:9 - cgroup cgroup rw,{name}\n"
    for name in ("cpu", "memory")
)
_counts = (
    numbers.map(lambda number: repr(number)[:400])
    | texts
    | st.sampled_from(["max", "max 100000", "50000 100000", "0 0", "1 0", "-1", "9" * 20])
)
_FILES = [
    f"{where}/{name}"
    for where in ("", "/job", "/job/step", "/cpu", "/memory", "/memory/job")
    for name in (
        "memory.max",
        "memory.high",
        "memory.current",
        "memory.stat",
        "cpu.max",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
    )
]
cgroup_trees = st.fixed_dictionaries(
    {
        "cgroup": texts
        | st.sampled_from(["0::/job/step\n", "5:memory:/job\n4:cpu:/\n0::/x\n", "0::/../..\n"]),
        "mountinfo": texts | st.sampled_from([_V1, _V2, _V1 + _V2]),
        "files": st.dictionaries(st.sampled_from(_FILES), _counts, max_size=6),
        "unreadable": st.sets(st.sampled_from(_FILES), max_size=2),
    }
)


def cgroup(tree: dict[str, Any], folder: Path) -> str:
    """Limits that are more than nothing and no more than there is, whatever the files hold."""
    contents = {
        "proc/self/cgroup": tree["cgroup"],
        "proc/self/mountinfo": tree["mountinfo"],
        **{f"sys/fs/cgroup{path}": text for path, text in tree["files"].items()},
    }
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for name in tree["unreadable"] - tree["files"].keys():
        (folder / f"sys/fs/cgroup{name}").mkdir(parents=True, exist_ok=True)
    places: Any = {"env": {}, "proc": folder / "proc", "root": folder}
    ram = find_ram(**places, physical_bytes=PHYSICAL)
    cpus = find_cpus(**places, affinity=CpuLimit(cpus=4, source="affinity"))
    assert 0 < ram.bytes <= PHYSICAL
    assert 0 < cpus.cpus <= 4
    assert ram.source.encode()
    assert cpus.source.encode()
    use = read_memory_use(ram, available_bytes=PHYSICAL // 2)
    assert use.used_bytes >= 0
    return ""


_SLURM = [
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_CPUS_ON_NODE",
    "SLURM_CPUS_PER_TASK",
    "SLURM_MEM_PER_NODE",
    "SLURM_MEM_PER_CPU",
    "SLURM_MEM_PER_GPU",
    "SLURM_GPUS_ON_NODE",
]
slurm_envs = st.dictionaries(st.sampled_from(_SLURM), _counts | st.integers(0, 99).map(str))


def slurm(env: dict[str, str], folder: Path) -> str:
    """As with cgroups."""
    places: Any = {"env": env, "proc": folder, "root": folder}
    assert 0 < find_ram(**places, physical_bytes=PHYSICAL).bytes <= PHYSICAL
    assert 0 < find_cpus(**places, affinity=CpuLimit(cpus=4, source="affinity")).cpus <= 4
    return ""


CLAIM = Claim(
    need=Need(cpus=1.5, ram_bytes=7, ram_source="slow start", gpu_share_bytes=3, locks=("a",)),
    experiment="Heart-CT",
    session="s",
    pid=42,
    user="anna",
    gpus=("GPU-1",),
    gpu_used_bytes={"GPU-1": 5},
)
_names = st.sampled_from(
    [
        "holding-000000000001-1-ab",
        "waiting-000000000002-1-ab",
        f"holding-{'9' * 60}-1-ab",
        f"waiting-{'9' * 200}-1-ab",
        "gate",
    ]
)
pools = st.lists(
    st.tuples(
        _names | paths,
        mutated((plain(CLAIM),)) | json_values,
        st.binary(max_size=20) | st.just(b'\n{"used_bytes": 3}\n'),
        st.booleans(),
    ),
    max_size=3,
)


def pool(files: list[tuple[str, Any, bytes, bool]], folder: Path) -> str:
    """Whoever takes a ticket is seen by all others, whatever else lies in the pool."""
    with contextlib.ExitStack() as held:
        for name, content, rest, is_locked in files:
            path = folder / name.encode("utf-8", "replace").decode()
            if path.exists():
                continue
            # The first byte is not read: on Windows it is what is locked.
            path.write_bytes(b" " + json.dumps(content).encode() + rest)
            if is_locked:
                held.callback(locked_file.close, _locked(path))
        own = tickets.create(folder, "holding", tickets.next_number(folder), CLAIM)
        held.callback(locked_file.close, own.descriptor)
        found = list(tickets.live_tickets(folder))
        assert own.claim in [ticket.claim for ticket in found]
        for ticket in found:
            line = describe(Obstacle(lacking="1 gpu", blockers=(ticket.claim,)), now=1e9)
            assert not set(line) & set("\n\x1b\x9b\u202e")
    return ""


def _locked(path: Path) -> int:
    descriptor = locked_file.open_existing(path)
    assert descriptor is not None
    assert locked_file.try_lock(descriptor)
    return descriptor


MACHINE_TARGETS: dict[str, tuple[st.SearchStrategy[Any], Any]] = {
    "CUDA_VISIBLE_DEVICES": (cuda_envs, cuda),
    "cgroup files": (cgroup_trees, cgroup),
    "SLURM variables": (slurm_envs, slurm),
    "lease pool": (pools, pool),
}
