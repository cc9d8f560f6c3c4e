"""The one table of options and ini keys: parser, settings, ``--help`` and reference page follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

from pytest_nbgroups.integration.options.values import (
    default_text,
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


# Without the methods that nothing here calls: this class is made in every run of pytest. For the
# same reason the settings, which know defaults and choices, are imported when these are asked for.
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Option:
    """One setting: an option with its ini twin, or one of the two alone."""

    name: str
    """Name of the ini key; the option has dashes."""
    help: str
    field: str = ""
    """The field of `Settings` that it sets; empty if it sets none, or several."""
    deadline: str = ""
    """The field of `Deadlines` that it sets."""
    read: Callable[[str], Any] | None = None
    """Reads the text of both. Without it, the annotation of the field lists the accepted texts."""
    default: str = ""
    """The default in words, if the field's own says too little."""
    metavar: str = ""
    is_switch: bool = False
    """True if it takes no value."""
    has_flag: bool = True
    has_ini: bool = True
    ini_type: IniType = "string"

    @property
    def flag(self) -> str:
        """The option; empty if there is only an ini key."""
        return f"--{self.name.replace('_', '-')}" if self.has_flag else ""

    @property
    def choices(self) -> tuple[str, ...]:
        from pytest_nbgroups.core.settings import Settings

        return () if self.read else get_args(get_type_hints(Settings)[self.field])

    @property
    def default_text(self) -> str:
        """The default as a user writes it."""
        from pytest_nbgroups.core.settings import DEFAULTS

        return self.default or default_text(getattr(DEFAULTS, self.field))

    def parse(self, text: str) -> Any:  # noqa: ANN401  what the option reads
        """Read a text; of a list, each text in it. Raises ValueError that names what is accepted."""
        return self.read(text) if self.read else read_choice(text, choices=self.choices)


OPTIONS: tuple[Option, ...] = (
    Option(
        name="run_experiments",
        is_switch=True,
        has_ini=False,
        help="Collect and run experiments: each directory of notebooks is one test.",
    ),
    Option(
        name="experiment_plan",
        field="plan",
        is_switch=True,
        has_ini=False,
        help="Show what would run, in which order, with which resources and for how long; run nothing.",
    ),
    Option(
        name="experiment_resume",
        field="resume",
        is_switch=True,
        has_ini=False,
        help="Reuse the first notebooks of each experiment that have passed and not changed since.",
    ),
    Option(
        name="experiment_cpus",
        field="cpu_budget",
        metavar="N",
        read=read_cpus,
        default="what affinity, the container and SLURM allow",
        help="CPU budget.",
    ),
    Option(
        name="experiment_ram",
        field="ram_budget",
        metavar="SIZE|N%",
        read=read_ram,
        default="80% of the capacity; 95% if a container or SLURM sets the limit",
        help='RAM budget: a size such as "16GB" or a share of the capacity such as "60%".',
    ),
    Option(
        name="experiment_gpus",
        field="gpus",
        metavar="auto|none|N|LIST",
        read=read_gpus,
        default="auto",
        help='GPUs that may be used: all that are visible (auto), none, a number such as 2, NVML indices such as "0,2" or "1,", or UUIDs.',
    ),
    Option(
        name="experiment_max_parallel",
        field="max_parallel",
        metavar="N",
        read=read_count,
        help="Never more than N experiments at once.",
    ),
    Option(
        name="experiment_schedule",
        field="schedule",
        help="Which experiments start first: the longest, for the shortest run; the shortest, for the fastest feedback; or as collected.",
    ),
    Option(
        name="experiment_wait",
        field="wait_s",
        metavar="DURATION",
        read=read_duration,
        help="Fail an experiment that has waited this long for its lease, and name the holders.",
    ),
    Option(
        name="experiment_lost",
        field="lost",
        help="How to treat an experiment whose pytest-xdist worker died: fail it, or retry it once (--dist load). A kernel that dies is always a failure.",
    ),
    Option(
        name="experiment_timeout",
        deadline="experiment_s",
        metavar="DURATION",
        read=read_duration,
        default="none",
        help='Deadline of each experiment, such as "2h" or "1h30m".',
    ),
    Option(
        name="experiment_notebook_timeout",
        deadline="notebook_s",
        metavar="DURATION",
        read=read_duration,
        default="none",
        help="Deadline of each notebook.",
    ),
    Option(
        name="experiment_cell_timeout",
        deadline="cell_s",
        metavar="DURATION",
        read=read_duration,
        default="none",
        help="Deadline of each cell.",
    ),
    Option(
        name="experiment_kernel",
        metavar="NAME",
        read=read_text,
        default="the notebook's",
        help="Kernel for the notebooks of its language.",
    ),
    Option(
        name="experiment_artifacts",
        field="artifacts",
        metavar="DIR",
        read=read_text,
        help="Folder for executed notebooks, logs and the session record, below the rootdir.",
    ),
    Option(
        name="experiment_shard",
        field="shard",
        metavar="I/N",
        read=read_shard,
        has_ini=False,
        help="Run the I-th of N shards, such as 1/4 to 4/4: the part of this machine in a CI matrix.",
    ),
    Option(
        name="experiment_weights",
        field="weights",
        metavar="FILE",
        read=read_text,
        help="How long each experiment takes, to balance shards; a path below the rootdir.",
    ),
    Option(
        name="experiment_roots",
        field="roots",
        read=read_text,
        default="experiments",
        has_flag=False,
        ini_type="paths",
        help="Folders whose subdirectories with notebooks are experiments.",
    ),
    Option(
        name="experiment_order",
        field="order",
        has_flag=False,
        help="Order of the notebooks: natural (2- before 10-) or lexicographic.",
    ),
    Option(
        name="experiment_unmet",
        field="unmet",
        has_flag=False,
        help="How to treat an experiment whose needs this machine can never meet: skip or fail.",
    ),
    Option(
        name="experiment_busy",
        field="busy",
        has_flag=False,
        help="How to treat an experiment whose directory another session uses: wait or fail.",
    ),
    Option(
        name="experiment_default_ram",
        field="default_ram",
        read=read_size,
        has_flag=False,
        help="The least RAM to reserve for an experiment without a declaration or a history of its RAM.",
    ),
    Option(
        name="experiment_gpu_default",
        field="gpu_default",
        has_flag=False,
        help="Lease a GPU to an experiment that declares none if its notebooks or its history show that it uses one: auto or none.",
    ),
    Option(
        name="experiment_gpu_env",
        field="gpu_naming",
        has_flag=False,
        help="How CUDA_VISIBLE_DEVICES names the leased GPUs: uuid or index.",
    ),
    Option(
        name="experiment_cpu_affinity",
        field="cpu_affinity",
        read=read_flag,
        has_flag=False,
        help="Bind kernels to as many CPUs as their experiment has leased (Linux): true or false.",
    ),
    Option(
        name="experiment_output_limit",
        field="output_limit",
        read=read_size,
        has_flag=False,
        help="Limit on the stored outputs of one notebook; the rest is left out, and the notebook continues.",
    ),
    Option(
        name="experiment_shutdown_grace",
        field="shutdown_grace_s",
        read=read_duration,
        has_flag=False,
        help="Time that the exit handlers of a kernel have at the end of its notebook, within the deadlines; then it is killed, and a warning names the notebook.",
    ),
    Option(
        name="experiment_checkpoint_limit",
        field="checkpoint_limit",
        read=read_size,
        has_flag=False,
        help="Limit on the file contents that one run of an experiment reads for --experiment-resume; the notebooks after which there is more are not reused.",
    ),
    Option(
        name="experiment_error_outputs",
        field="error_outputs",
        has_flag=False,
        help="How to treat a cell that passes although an error is among its outputs, such as that of a figure that cannot be drawn: warn, fail or ignore.",
    ),
    Option(
        name="experiment_kernel_start",
        field="kernel_start",
        has_flag=False,
        help="How to start Python kernels: warm forks them from a process that has ipykernel imported (Linux), plain starts a new Python for each.",
    ),
    Option(
        name="experiment_preload",
        field="preload",
        read=read_module,
        has_flag=False,
        ini_type="args",
        help="Modules such as numpy to import once for all warm kernels.",
    ),
    Option(
        name="experiment_transport",
        field="transport",
        has_flag=False,
        help="How to talk to kernels: auto uses ipc for ipykernel on POSIX and tcp for others.",
    ),
)

RUN, PLAN, RESUME = (option.flag for option in OPTIONS if option.is_switch)
