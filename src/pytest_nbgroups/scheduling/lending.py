"""Runs inside an experiment borrow from the lease of that experiment. Pure.

A claim that lends has its lender's ticket in ``Claim.lender``. It competes only with
the other borrowers of that lease. All others see the lender's lease, which counts once. A borrower
never needs more than its lender holds, so no claim holds one resource and waits for another, except
for directories: see `waits_for_itself`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from pytest_nbgroups.core.resources import AUTO_SHARE, Budget, Claim, Gpu, Resources
from pytest_nbgroups.core.text import first_line, plain_text
from pytest_nbgroups.core.units import counted, size_text
from pytest_nbgroups.scheduling.obstacles import Obstacle

_DIRECTORY = "needs its directory"


def within(budget: Budget, lender: Claim) -> Budget:
    """Return the smaller of a budget and the lender's holding."""
    name = name_of(lender)
    return replace(
        budget,
        cpus=min(budget.cpus, lender.need.cpus),
        cpus_source=f"the lease of {name}",
        cpu_domain=lender.cpu_domain,
        ram_bytes=min(budget.ram_bytes, lender.need.ram_bytes),
        ram_source=f"the lease of {name}",
        ram_domain=lender.ram_domain,
        gpus=lent(budget.gpus, lender),
        lender=lender,
        notes=(*budget.notes, f"this session is inside {name}, and uses what its lease holds"),
    )


def lent(gpus: Iterable[Gpu], lender: Claim) -> tuple[Gpu, ...]:
    """Return the lender's GPUs, as large and as free as in its lease.

    The lender's own memory on them does not count: a borrower would wait for its own end.
    """
    share = lender.need.gpu_share_bytes
    mine = [gpu for gpu in gpus if gpu.uuid in lender.gpus]
    sizes = [gpu.total_bytes if share is None else min(share, gpu.total_bytes) for gpu in mine]
    return tuple(
        replace(gpu, total_bytes=size, free_bytes=size)
        for gpu, size in zip(mine, sizes, strict=True)
    )


# What a claim competes with


def beside(
    claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
) -> tuple[Sequence[Claim], Sequence[Claim]]:
    """Return the holders and claims ahead that compete with the claim.

    A borrower whose lender is gone, while its kernels end, counts by itself.
    """
    if not claim.lender and not any(other.lender for other in (*holders, *ahead)):
        return holders, ahead
    lenders = {holder.ticket for holder in holders}

    def is_beside(other: Claim) -> bool:
        if claim.lender:
            return other.lender == claim.lender
        return other.lender not in lenders

    return [*filter(is_beside, holders)], [*filter(is_beside, ahead)]


def in_use(claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> Obstacle | None:
    """Return the user of the claim's directory, or an earlier claim to it; None if it is free.

    A borrower does not wait for one that only waits for the directory: that one may wait for the
    lender's end.
    """
    before = [other for other in ahead if not claim.lender or other.lender == claim.lender]
    users = _users(claim, holders)
    waiting = _users(claim, before)
    if not users and not waiting:
        return None
    return Obstacle(lacking=_DIRECTORY, blockers=tuple(users), ahead=tuple(waiting))


def _users(claim: Claim, others: Iterable[Claim]) -> list[Claim]:
    return [other for other in others if claim.place and other.place == claim.place]


def ancestors(claim: Claim, holders: Iterable[Claim]) -> tuple[Claim, ...]:
    """Return the leases around the claim, the nearest first."""
    by_ticket = {holder.ticket: holder for holder in holders if holder.ticket}
    found: dict[str, Claim] = {}
    name = claim.lender
    while name in by_ticket and name not in found:  # a forged ticket can name itself
        found[name] = by_ticket[name]
        name = by_ticket[name].lender
    return tuple(found.values())


def are_kin(one: Claim, other: Claim, holders: Sequence[Claim]) -> bool:
    """Return True if two holders are the same, or one is inside the other."""
    return (
        one.ticket == other.ticket
        or one.ticket in {claim.ticket for claim in ancestors(other, holders)}
        or other.ticket in {claim.ticket for claim in ancestors(one, holders)}
    )


# What can never be granted


def lacking(resources: Resources, lender: Claim, *, default_ram_bytes: int) -> str | None:
    """Return the declared need that exceeds the lender's holding; None if the lender holds enough.

    An undeclared need is reduced to the lender's holding, as it is to a budget. Memory that the
    lender has not declared is an estimate, based on earlier runs inside it. A need is too much only
    if it also exceeds the reserve of a first run: a later run can always have what the first had.
    """
    return next(_lacks(resources, lender, default_ram_bytes), None)


def _lack(lender: Claim, *, needs: str, holds: str, declaration: str) -> str:
    name = name_of(lender)
    return (
        f"{needs}; this run is inside {name}, whose lease {holds}. "
        f"Declare {declaration} in {name}'s experiment.toml"
    )


def _lacks(resources: Resources, lender: Claim, default_ram_bytes: int) -> Iterator[str]:
    held, ram = lender.need, resources.ram
    cpus = resources.cpus or 0.0
    if lender.cpu_limit is not None:  # the lender's declaration was cut to the machine's CPUs, too
        cpus = min(cpus, lender.cpu_limit)
    if cpus > held.cpus:
        needs, holds = f"needs {counted(cpus, 'cpu')}", f"holds {counted(held.cpus, 'cpu')}"
        yield _lack(lender, needs=needs, holds=holds, declaration=f"cpus = {cpus:g}")
    least = 0 if held.ram_source == "declared" else default_ram_bytes
    if ram is not None and ram.bytes > max(held.ram_bytes, least):
        needs, holds = f"needs {ram} of RAM", f"holds {size_text(held.ram_bytes)}"
        yield _lack(lender, needs=needs, holds=holds, declaration=f'ram = "{ram}"')
    for lock in sorted(set(resources.locks) - set(held.locks)):
        needs, declaration = f"needs the lock {lock!r}", f'locks = ["{lock}"]'
        yield _lack(lender, needs=needs, holds="does not hold it", declaration=declaration)
    if resources.exclusive and not held.exclusive:
        yield _lack(lender, needs="is exclusive", holds="is not", declaration="exclusive = true")


def lacking_gpus(resources: Resources, lender: Claim) -> str | None:
    """Describe the declared GPUs that the lender does not hold; None if it holds them."""
    count, share, held = resources.gpu_count, resources.gpu_memory, len(lender.gpus)
    needs = f"needs {counted(count, 'GPU')}"
    if count > held:
        holds = f"holds {held or 'none'}"
        return _lack(lender, needs=needs, holds=holds, declaration=f"gpus = {count}")
    lent_bytes = lender.need.gpu_share_bytes
    if count == 0 or lent_bytes is None or share == AUTO_SHARE:
        return None
    holds = f"holds {size_text(lent_bytes)} of one"
    if share is None:
        return _lack(lender, needs=needs, holds=holds, declaration="gpus = 1")
    if share.bytes <= lent_bytes:
        return None
    needs, declaration = f"needs {share} of a GPU", f'gpu_memory = "{share}"'
    return _lack(lender, needs=needs, holds=holds, declaration=declaration)


# Directories


def waits_for_itself(
    claim: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]
) -> tuple[Claim, Claim] | None:
    """Return the user of the claim's directory, and the ancestor whose end that user awaits.

    None if the directory becomes free. A directory is the only resource outside of its lender's
    lease for which a borrower may wait, so all circles of waits lead through directories. In a
    circle only the last claim sees all others among the holders and those ``ahead``: it is refused.
    """
    own = {ancestor.ticket: ancestor for ancestor in ancestors(claim, holders)}
    for user in _users(claim, holders) if own else ():
        if user.ticket in own:
            return user, user
        awaited = _awaited(user, holders, ahead)
        for ticket, ancestor in own.items():
            if ticket in awaited:
                return user, ancestor
    return None


def _awaited(user: Claim, holders: Sequence[Claim], ahead: Sequence[Claim]) -> set[str]:
    """Return the tickets that must end before the user of a directory can, and those inside them."""
    seen: set[str] = set()
    waiting = {other.ticket for other in ahead if other.lender}
    left = [user]
    while left:
        one = left.pop()
        if one.ticket in seen:
            continue
        seen.add(one.ticket)
        left += [other for other in (*holders, *ahead) if other.lender == one.ticket]
        if one.ticket in waiting:
            left += _users(one, holders)
    return seen


def name_of(claim: Claim) -> str:
    """Return the experiment's name for a message: a ticket's text can hold terminal escapes."""
    return first_line(plain_text(claim.experiment))
