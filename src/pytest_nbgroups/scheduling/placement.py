"""Choice of GPUs for a claim, beside the holders and the claims that wait before it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from pytest_nbgroups.core.resources import Claim, Gpu
from pytest_nbgroups.core.units import counted, format_size, size_text

_FREE_WEIGHT, _IDLE_WEIGHT = 0.6, 0.4


@dataclass(frozen=True, kw_only=True)
class _Seat:
    """One GPU and its leases."""

    gpu: Gpu
    taken: bool = False
    """True if it is leased as a whole, or kept for a claim that cannot have it yet."""
    shared: bool = False
    leased_bytes: int = 0
    sharers_bytes: int = 0
    """Memory used on the device by the leases of a share, in bytes."""

    @property
    def room_bytes(self) -> int:
        """Memory that is neither leased nor in use; sharers can still grow into their leases."""
        used = self.gpu.total_bytes - self.gpu.free_bytes
        foreign = max(0, used - self.sharers_bytes)
        return min(self.gpu.free_bytes, self.gpu.total_bytes - self.leased_bytes - foreign)

    @property
    def score(self) -> float:
        room = max(0, self.room_bytes) / max(1, self.gpu.total_bytes)
        return _FREE_WEIGHT * room + _IDLE_WEIGHT * (1 - self.gpu.utilization)


_Seats: TypeAlias = Mapping[str, _Seat]


def place(
    claim: Claim, *, holders: Sequence[Claim], ahead: Sequence[Claim], gpus: Sequence[Gpu]
) -> tuple[str, ...] | None:
    """Return UUIDs for a claim that needs GPUs; None if it cannot have all of them.

    Each claim ahead takes the GPUs that it could have now. A claim that cannot have all keeps every
    GPU that could serve it from those behind it. GPUs are chosen by score: free and unleased
    memory, then idleness.
    """
    seats: _Seats = {gpu.uuid: _Seat(gpu=gpu) for gpu in gpus if gpu.usable}
    for holder in holders:
        seats = _seated(seats, holder, holder.gpus, started=True)
    for other in ahead:
        chosen = _choice(seats, other)
        seats = _kept(seats, other) if chosen is None else _seated(seats, other, chosen)
    return _choice(seats, claim)


def wanting(claim: Claim, others: Iterable[Claim]) -> tuple[Claim, ...]:
    """Return the claims that have or want a GPU that the claim may use."""
    choices = set(claim.gpu_choices)
    return tuple(
        other
        for other in others
        if choices.intersection(other.gpus or (other.gpu_choices if other.need.gpus else ()))
    )


def wanted(claim: Claim) -> str:
    """Return the GPUs that a claim needs, as text for people."""
    need = claim.need
    if need.gpu_share_bytes is not None:
        return f"{size_text(need.gpu_share_bytes)} of a gpu"
    minimum = f" with {size_text(need.gpu_min_bytes)} free" if need.gpu_min_bytes else ""
    return f"{counted(need.gpus, 'gpu')}{minimum}"


def unleased(claim: Claim, gpus: Sequence[Gpu]) -> str:
    """Return the reason if no lease is in the way."""
    usable = [gpu for gpu in gpus if gpu.usable and gpu.uuid in claim.gpu_choices]
    if len(usable) < claim.need.gpus:
        return f"{len(usable) or 'none'} can be used now"
    free = max((gpu.free_bytes for gpu in usable), default=0)
    return f"other programs use their memory: at most {format_size(free)} of one are free"


def _choice(seats: _Seats, claim: Claim) -> tuple[str, ...] | None:
    fitting = [
        seat for seat in seats.values() if seat.gpu.uuid in claim.gpu_choices and _fits(seat, claim)
    ]
    if len(fitting) < claim.need.gpus:
        return None
    best = sorted(fitting, key=lambda seat: (-seat.score, seat.gpu.index, seat.gpu.uuid))
    return tuple(seat.gpu.uuid for seat in best[: claim.need.gpus])


def _fits(seat: _Seat, claim: Claim) -> bool:
    share, gpu = claim.need.gpu_share_bytes, seat.gpu
    if seat.taken or (share is None and seat.shared):
        return False
    if gpu.unified:  # its memory is charged to RAM
        return True
    if share is None:
        return gpu.free_bytes >= claim.need.gpu_min_bytes
    return seat.room_bytes >= share


def _seated(
    seats: _Seats, claim: Claim, uuids: Iterable[str], *, started: bool = False
) -> dict[str, _Seat]:
    """Return the seats after a claim has taken some; only one that has ``started`` uses memory."""
    changed = dict(seats)
    for uuid in uuids:
        if uuid in changed:
            changed[uuid] = _with(changed[uuid], claim, started=started)
    return changed


def _with(seat: _Seat, claim: Claim, *, started: bool) -> _Seat:
    share = claim.need.gpu_share_bytes
    if share is None:
        return replace(seat, taken=True)
    used = seat.gpu.total_bytes - seat.gpu.free_bytes if started else 0
    own = claim.gpu_used_bytes.get(seat.gpu.uuid, min(share, used))
    return replace(
        seat,
        shared=True,
        leased_bytes=seat.leased_bytes + max(share, own),
        sharers_bytes=seat.sharers_bytes + own,
    )


def _kept(seats: _Seats, claim: Claim) -> dict[str, _Seat]:
    least = claim.need.gpu_share_bytes or claim.need.gpu_min_bytes
    return {
        uuid: replace(seat, taken=True)
        if uuid in claim.gpu_choices and (seat.gpu.unified or seat.gpu.total_bytes >= least)
        else seat
        for uuid, seat in seats.items()
    }
