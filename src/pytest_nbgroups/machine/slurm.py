"""Resources of this node that a SLURM job may use, from its environment.

The variables: https://slurm.schedmd.com/sbatch.html and https://slurm.schedmd.com/srun.html,
"output environment variables". They are read only within a job (``SLURM_JOB_ID``): the same names
are also options of commands that have yet to start one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pytest_nbgroups.machine.counts import parse_count

_MIB = 2**20  # "MB" in SLURM's documentation
_RESERVED_STEPS = 0xFFFFFFF0  # from here on: batch script, interactive shell, extern


def slurm_cpus(env: Mapping[str, str]) -> tuple[int, str] | None:
    """CPUs for this process on this node, and the variable it comes from; ``None`` outside a job.

    ``SLURM_CPUS_ON_NODE`` is what the job or step has on the node. A step that ``srun`` starts as
    several tasks gives each ``SLURM_CPUS_PER_TASK``; the batch script also has that variable, but
    there it is no limit.
    """
    names = ["SLURM_CPUS_ON_NODE"]
    if _in_step(env) or "SLURM_CPUS_ON_NODE" not in env:
        names.append("SLURM_CPUS_PER_TASK")
    found = [(count, name) for name in names if (count := _count(env, name))]
    return min(found, default=None)


def slurm_ram(env: Mapping[str, str]) -> tuple[int, str] | None:
    """Bytes of RAM on this node, and the variable it comes from; ``None`` if SLURM sets no limit.

    ``--mem=0`` asks for all of the node, so a zero is no limit.
    """
    return min(_ram_limits(env), default=None)


def slurm_domain(env: Mapping[str, str]) -> str:
    """The same text for every process of the job."""
    return f"slurm:{env.get('SLURM_JOB_ID', '')}"


def _ram_limits(env: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    cpus = _count(env, "SLURM_CPUS_ON_NODE") or _count(env, "SLURM_CPUS_PER_TASK")
    for name, factor in (
        ("SLURM_MEM_PER_NODE", 1),
        ("SLURM_MEM_PER_CPU", cpus),
        ("SLURM_MEM_PER_GPU", _count(env, "SLURM_GPUS_ON_NODE")),
    ):
        size = _count(env, name) * factor * _MIB
        if size:
            yield size, name


def _count(env: Mapping[str, str], name: str) -> int:
    """Zero if the variable is unset, is empty, or there is no job."""
    return (parse_count(env.get(name, "")) or 0) if "SLURM_JOB_ID" in env else 0


def _in_step(env: Mapping[str, str]) -> bool:
    step = parse_count(env.get("SLURM_STEP_ID", ""))
    return step is not None and step < _RESERVED_STEPS
