"""The table of options and ini keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

from pytest_nbgroups.integration.options.values import (
    read_choice,
    read_count,
    read_cpus,
    read_duration,
    read_flag,
    read_gpus,
    read_module,
    read_ram,
    read_shard,
    read_size,
    read_text,
)

IniType: TypeAlias = Literal["string", "paths", "args"]


# Without the methods that nothing here calls: this class is made in every run of pytest.
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Option:
    """One setting: an option with its ini twin, or one of the two alone."""

    name: str
    """Name of the ini key; the option's is the same with dashes."""
    read: Callable[[str], Any]
    """Reads the text of either, of a list each text in it; ValueError says what is accepted."""
    help: str
    default_text: str
    metavar: str | None = None
    has_flag: bool = True
    has_ini: bool = True
    ini_type: IniType = "string"

    @property
    def flag(self) -> str | None:
        return f"--{self.name.replace('_', '-')}" if self.has_flag else None


OPTIONS: tuple[Option, ...] = (
    Option(
        name="experiment_cpus",
        metavar="N",
        read=read_cpus,
        default_text="what is found",
        help="CPU budget. Default: what affinity, the container and SLURM allow.",
    ),
    Option(
        name="experiment_ram",
        metavar="SIZE|N%",
        read=read_ram,
        default_text="80% of capacity; 95% where a cgroup or SLURM sets it",
        help='RAM budget: a size such as "16GB" or a share of the capacity such as "60%%". '
        "Default: 80%%; 95%% where a container or SLURM sets the limit.",
    ),
    Option(
        name="experiment_gpus",
        metavar="auto|none|N|LIST",
        read=read_gpus,
        default_text="auto",
        help='GPUs that may be used: all that are visible (auto), none, a number such as 2, NVML indices such as "0,2" or "1,", or UUIDs.',
    ),
    Option(
        name="experiment_max_parallel",
        metavar="N",
        read=read_count,
        default_text="none",
        help="Never more than N experiments at once.",
    ),
    Option(
        name="experiment_schedule",
        metavar="longest|shortest|collection",
        read=partial(read_choice, choices=("longest", "shortest", "collection")),
        default_text="longest",
        help="Which experiments start first: the longest, for the shortest run; the shortest, for the fastest feedback; or as collected.",
    ),
    Option(
        name="experiment_wait",
        metavar="DURATION",
        read=read_duration,
        default_text="none",
        help="Fail an experiment that has waited so long for its lease, naming the holders.",
    ),
    Option(
        name="experiment_lost",
        metavar="fail|retry",
        read=partial(read_choice, choices=("fail", "retry")),
        default_text="fail",
        help="What becomes of an experiment whose pytest-xdist worker died: it fails, or runs once more (--dist load). A kernel that dies is always a failure.",
    ),
    Option(
        name="experiment_timeout",
        metavar="DURATION",
        read=read_duration,
        default_text="none",
        help='Deadline of each experiment, such as "2h" or "1h30m".',
    ),
    Option(
        name="experiment_notebook_timeout",
        metavar="DURATION",
        read=read_duration,
        default_text="none",
        help="Deadline of each notebook.",
    ),
    Option(
        name="experiment_cell_timeout",
        metavar="DURATION",
        read=read_duration,
        default_text="none",
        help="Deadline of each cell.",
    ),
    Option(
        name="experiment_kernel",
        metavar="NAME",
        read=read_text,
        default_text="the notebook's",
        help="Kernel for the notebooks of its language.",
    ),
    Option(
        name="experiment_artifacts",
        metavar="DIR",
        read=read_text,
        default_text=".experiments",
        help="Folder for executed notebooks, logs and the session record, below the rootdir.",
    ),
    Option(
        name="experiment_shard",
        metavar="I/N",
        read=read_shard,
        default_text="none",
        has_ini=False,
        help="Run the I-th of N shards, such as 1/4 to 4/4: what this machine of a CI matrix has to do.",
    ),
    Option(
        name="experiment_weights",
        metavar="FILE",
        read=read_text,
        default_text="none",
        help="How long each experiment takes, to balance shards; a path below the rootdir.",
    ),
    Option(
        name="experiment_roots",
        read=read_text,
        default_text="experiments",
        has_flag=False,
        ini_type="paths",
        help="Folders whose subdirectories with notebooks are experiments.",
    ),
    Option(
        name="experiment_order",
        read=partial(read_choice, choices=("natural", "lexicographic")),
        default_text="natural",
        has_flag=False,
        help="Order of the notebooks: natural (2- before 10-) or lexicographic.",
    ),
    Option(
        name="experiment_unmet",
        read=partial(read_choice, choices=("skip", "fail")),
        default_text="skip",
        has_flag=False,
        help="What becomes of an experiment whose needs the machine can never meet: skip or fail.",
    ),
    Option(
        name="experiment_busy",
        read=partial(read_choice, choices=("wait", "fail")),
        default_text="wait",
        has_flag=False,
        help="What becomes of an experiment whose directory another session uses: wait or fail.",
    ),
    Option(
        name="experiment_default_ram",
        read=read_size,
        default_text="2GB",
        has_flag=False,
        help="The least RAM reserved for an experiment of which neither a declaration nor history tells it.",
    ),
    Option(
        name="experiment_gpu_default",
        read=partial(read_choice, choices=("auto", "none")),
        default_text="auto",
        has_flag=False,
        help="Whether an experiment that declares no GPU is leased one where its notebooks or its history show that it uses it: auto or none.",
    ),
    Option(
        name="experiment_gpu_env",
        read=partial(read_choice, choices=("uuid", "index")),
        default_text="uuid",
        has_flag=False,
        help="How CUDA_VISIBLE_DEVICES names the leased GPUs: uuid or index.",
    ),
    Option(
        name="experiment_cpu_affinity",
        read=read_flag,
        default_text="false",
        has_flag=False,
        help="Bind kernels to as many CPUs as their experiment has leased (Linux): true or false.",
    ),
    Option(
        name="experiment_output_limit",
        read=read_size,
        default_text="50MB",
        has_flag=False,
        help="How much of what a notebook prints and shows is kept; what is over it is left out, and the notebook runs on.",
    ),
    Option(
        name="experiment_shutdown_grace",
        read=read_duration,
        default_text="10s",
        has_flag=False,
        help="Time that the exit handlers of a kernel have at the end of its notebook, within the deadlines; then it is killed, and a warning names the notebook.",
    ),
    Option(
        name="experiment_checkpoint_limit",
        read=read_size,
        default_text="10GB",
        has_flag=False,
        help="How much of an experiment's files is read in one run to record them for --experiment-resume; if there is more, the notebooks after which it is there are not reused.",
    ),
    Option(
        name="experiment_error_outputs",
        read=partial(read_choice, choices=("warn", "fail", "ignore")),
        default_text="warn",
        has_flag=False,
        help="How to treat a cell that passes although an error is among its outputs, such as that of a figure that cannot be drawn: warn, fail or ignore.",
    ),
    Option(
        name="experiment_kernel_start",
        read=partial(read_choice, choices=("warm", "plain")),
        default_text="warm",
        has_flag=False,
        help="How to start Python kernels: warm forks them from a process that has ipykernel imported (Linux), plain starts a new Python for each.",
    ),
    Option(
        name="experiment_preload",
        read=read_module,
        default_text="none",
        has_flag=False,
        ini_type="args",
        help="Modules such as numpy that are imported once for all warm kernels, each of which then finds them imported.",
    ),
    Option(
        name="experiment_transport",
        read=partial(read_choice, choices=("auto", "ipc", "tcp")),
        default_text="auto",
        has_flag=False,
        help="How to talk to kernels: auto uses ipc for ipykernel on POSIX and tcp for others.",
    ),
)
