"""The table of options and ini keys, and how each value is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from pytest_nbgroups.settings import GpuSelection, RamBudget, Shard
    from pytest_nbgroups.units import Size

IniType: TypeAlias = Literal["string", "paths"]


# Without the methods that nothing here calls: this class is made in every run of pytest.
@dataclass(frozen=True, kw_only=True, repr=False, eq=False)
class Option:
    """One setting: an option with its ini twin, or one of the two alone."""

    name: str
    """Name of the ini key; the option's is the same with dashes."""
    read: Callable[[str], Any]
    """Reads the text of either; ValueError says what is accepted."""
    help: str
    default_text: str
    metavar: str | None = None
    has_flag: bool = True
    has_ini: bool = True
    ini_type: IniType = "string"

    @property
    def flag(self) -> str | None:
        return f"--{self.name.replace('_', '-')}" if self.has_flag else None


def _choice(value: str, *, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"expected {' or '.join(choices)}")
    return value


def _cpus(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < 2**31:
        raise ValueError("expected a number above zero, such as 4 or 0.5")
    return number


def _size(value: str) -> Size:
    from pytest_nbgroups.units import parse_size

    return parse_size(value)


def _duration(value: str) -> float:
    from pytest_nbgroups.units import parse_duration

    return parse_duration(value)


def _ram(value: str) -> RamBudget:
    from pytest_nbgroups.settings import RamBudget

    if not value.endswith("%"):
        return RamBudget(size=_size(value))
    try:
        percent = float(value[:-1])
    except ValueError:
        percent = 0
    if not 0 < percent <= 100:  # noqa: PLR2004  per cent
        raise ValueError('expected a size such as "16GB", or a share such as "60%" up to 100%')
    return RamBudget(fraction=percent / 100)


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("expected a name")
    return value


def _gpus(value: str) -> GpuSelection:
    from pytest_nbgroups.settings import GpuSelection

    text = value.strip()
    if text in {"auto", "none"}:
        return GpuSelection(count=0 if text == "none" else None)
    if (count := _whole(text)) is not None:
        return GpuSelection(count=count)
    names = tuple(name.strip() for name in text.removesuffix(",").split(","))
    if not text.isdecimal() and all(
        name.isdecimal() or name.startswith(("GPU-", "MIG-")) for name in names
    ):
        return GpuSelection(names=names)
    raise ValueError(
        'expected auto, none, a number of GPUs such as 2, or a list of NVML indices such as "0,2" '
        'or "1,", or of UUIDs such as "GPU-5d5ba0d6"'
    )


def _whole(value: str) -> int | None:
    """A whole number of at most nine digits; int() refuses thousands of them in words of its own."""
    return int(value) if value.isdecimal() and len(value) < 10 else None  # noqa: PLR2004


def _count(value: str) -> int:
    if not (count := _whole(value)):
        raise ValueError("expected a whole number from 1 on")
    return count


def _shard(value: str) -> Shard:
    from pytest_nbgroups.settings import Shard

    index, count = (_whole(number) for number in value.partition("/")[::2])
    if index is None or not count:
        raise ValueError("expected I/N, the number of this shard and of all, such as 1/4 to 4/4")
    if not 1 <= index <= count:
        raise ValueError(f"expected 1/{count} to {count}/{count}")
    return Shard(index=index, count=count)


def _flag(value: str) -> bool:
    try:
        return {"true": True, "false": False, "1": True, "0": False}[value.strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


OPTIONS: tuple[Option, ...] = (
    Option(
        name="experiment_cpus",
        metavar="N",
        read=_cpus,
        default_text="what is found",
        help="CPU budget. Default: what affinity, the container and SLURM allow.",
    ),
    Option(
        name="experiment_ram",
        metavar="SIZE|N%",
        read=_ram,
        default_text="80% of capacity; 95% where a cgroup or SLURM sets it",
        help='RAM budget: a size such as "16GB" or a share of the capacity such as "60%%". '
        "Default: 80%%; 95%% where a container or SLURM sets the limit.",
    ),
    Option(
        name="experiment_gpus",
        metavar="auto|none|N|LIST",
        read=_gpus,
        default_text="auto",
        help='GPUs that may be used: all that are visible (auto), none, a number such as 2, NVML indices such as "0,2" or "1,", or UUIDs.',
    ),
    Option(
        name="experiment_max_parallel",
        metavar="N",
        read=_count,
        default_text="none",
        help="Never more than N experiments at once.",
    ),
    Option(
        name="experiment_schedule",
        metavar="longest|shortest|collection",
        read=partial(_choice, choices=("longest", "shortest", "collection")),
        default_text="longest",
        help="Which experiments start first: the longest, for the shortest run; the shortest, for the fastest feedback; or as collected.",
    ),
    Option(
        name="experiment_wait",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help="Fail an experiment that has waited so long for its lease, naming the holders.",
    ),
    Option(
        name="experiment_lost",
        metavar="fail|retry",
        read=partial(_choice, choices=("fail", "retry")),
        default_text="fail",
        help="What becomes of an experiment whose pytest-xdist worker died: it fails, or runs once more (--dist load). A kernel that dies is always a failure.",
    ),
    Option(
        name="experiment_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help='Deadline of each experiment, such as "2h" or "1h30m".',
    ),
    Option(
        name="experiment_notebook_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help="Deadline of each notebook.",
    ),
    Option(
        name="experiment_cell_timeout",
        metavar="DURATION",
        read=_duration,
        default_text="none",
        help="Deadline of each cell.",
    ),
    Option(
        name="experiment_kernel",
        metavar="NAME",
        read=_text,
        default_text="the notebook's",
        help="Kernel for the notebooks of its language.",
    ),
    Option(
        name="experiment_artifacts",
        metavar="DIR",
        read=_text,
        default_text=".experiments",
        help="Folder for executed notebooks, logs and the session record, below the rootdir.",
    ),
    Option(
        name="experiment_shard",
        metavar="I/N",
        read=_shard,
        default_text="none",
        has_ini=False,
        help="Run the I-th of N shards, such as 1/4 to 4/4: what this machine of a CI matrix has to do.",
    ),
    Option(
        name="experiment_weights",
        metavar="FILE",
        read=_text,
        default_text="none",
        help="How long each experiment takes, to balance shards; a path below the rootdir.",
    ),
    Option(
        name="experiment_roots",
        read=_text,
        default_text="experiments",
        has_flag=False,
        ini_type="paths",
        help="Folders whose subdirectories with notebooks are experiments.",
    ),
    Option(
        name="experiment_order",
        read=partial(_choice, choices=("natural", "lexicographic")),
        default_text="natural",
        has_flag=False,
        help="Order of the notebooks: natural (2- before 10-) or lexicographic.",
    ),
    Option(
        name="experiment_unmet",
        read=partial(_choice, choices=("skip", "fail")),
        default_text="skip",
        has_flag=False,
        help="What becomes of an experiment whose needs the machine can never meet: skip or fail.",
    ),
    Option(
        name="experiment_busy",
        read=partial(_choice, choices=("wait", "fail")),
        default_text="wait",
        has_flag=False,
        help="What becomes of an experiment whose directory another session uses: wait or fail.",
    ),
    Option(
        name="experiment_default_ram",
        read=_size,
        default_text="2GB",
        has_flag=False,
        help="The least RAM reserved for an experiment of which neither a declaration nor history tells it.",
    ),
    Option(
        name="experiment_gpu_default",
        read=partial(_choice, choices=("auto", "none")),
        default_text="auto",
        has_flag=False,
        help="Whether an experiment that declares no GPU is leased one where its notebooks or its history show that it uses it: auto or none.",
    ),
    Option(
        name="experiment_gpu_env",
        read=partial(_choice, choices=("uuid", "index")),
        default_text="uuid",
        has_flag=False,
        help="How CUDA_VISIBLE_DEVICES names the leased GPUs: uuid or index.",
    ),
    Option(
        name="experiment_cpu_affinity",
        read=_flag,
        default_text="false",
        has_flag=False,
        help="Bind kernels to as many CPUs as their experiment has leased (Linux): true or false.",
    ),
    Option(
        name="experiment_output_limit",
        read=_size,
        default_text="50MB",
        has_flag=False,
        help="How much of what a notebook prints and shows is kept; what is over it is left out, and the notebook runs on.",
    ),
    Option(
        name="experiment_transport",
        read=partial(_choice, choices=("auto", "ipc", "tcp")),
        default_text="auto",
        has_flag=False,
        help="How to talk to kernels: auto uses ipc for ipykernel on POSIX and tcp for others.",
    ),
)
