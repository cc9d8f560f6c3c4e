"""The values of options and ini keys, from text and as text. ValueError names what is accepted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_nbgroups.core.settings import GpuSelection, RamBudget, Shard
    from pytest_nbgroups.core.units import Size


def read_choice(value: str, *, choices: tuple[str, ...]) -> str:
    if value not in choices:
        raise ValueError(f"expected {' or '.join(choices)}")
    return value


def read_cpus(value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0
    if not 0 < number < 2**31:
        raise ValueError("expected a number above zero, such as 4 or 0.5")
    return number


def read_size(value: str) -> Size:
    from pytest_nbgroups.core.units import parse_size

    return parse_size(value)


def read_duration(value: str) -> float:
    from pytest_nbgroups.core.units import parse_duration

    return parse_duration(value)


def read_ram(value: str) -> RamBudget:
    from pytest_nbgroups.core.settings import RamBudget

    if not value.endswith("%"):
        return RamBudget(size=read_size(value))
    try:
        percent = float(value[:-1])
    except ValueError:
        percent = 0
    if not 0 < percent <= 100:  # noqa: PLR2004  per cent
        raise ValueError('expected a size such as "16GB", or a share such as "60%" up to 100%')
    return RamBudget(fraction=percent / 100)


def read_text(value: str) -> str:
    if not value.strip():
        raise ValueError("expected a name")
    return value


def read_gpus(value: str) -> GpuSelection:
    from pytest_nbgroups.core.settings import GpuSelection

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


def read_module(value: str) -> str:
    if not all(part.isidentifier() for part in value.split(".")):
        raise ValueError('expected names of modules, such as "numpy" or "sklearn.linear_model"')
    return value


def _whole(value: str) -> int | None:
    # At most nine digits: int() refuses thousands of them with a message of its own.
    return int(value) if value.isdecimal() and len(value) < 10 else None  # noqa: PLR2004


def read_count(value: str) -> int:
    if not (count := _whole(value)):
        raise ValueError("expected a whole number from 1 on")
    return count


def read_shard(value: str) -> Shard:
    from pytest_nbgroups.core.settings import Shard

    index, count = (_whole(number) for number in value.partition("/")[::2])
    if index is None or not count:
        raise ValueError("expected I/N, the number of this shard and of all, such as 1/4 to 4/4")
    if not 1 <= index <= count:
        raise ValueError(f"expected 1/{count} to {count}/{count}")
    return Shard(index=index, count=count)


def read_flag(value: str) -> bool:
    try:
        return {"true": True, "false": False, "1": True, "0": False}[value.strip().lower()]
    except KeyError:
        raise ValueError("expected true or false") from None


def default_text(value: object) -> str:
    """Write the default of a setting as a user would."""
    match value:
        case None | ():
            return "none"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}s"
        case _:
            return str(value)
