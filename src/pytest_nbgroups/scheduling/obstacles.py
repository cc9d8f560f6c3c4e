"""Obstacles that a claim must wait for, and their text. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from pytest_nbgroups.core.resources import Claim
from pytest_nbgroups.core.text import first_line, plain_text

Relation: TypeAlias = Literal["held by", "waits for"]

_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class Obstacle:
    """The reason why a claim must wait."""

    lacking: str
    """The lacking resource; the text stays the same while the same resource is lacking."""
    blockers: tuple[Claim, ...] = ()
    """Holders of the resource."""
    ahead: tuple[Claim, ...] = ()
    """Claims that wait for it before this one."""
    detail: str = ""
    """Amount that is free now."""
    relation: Relation = "held by"


def describe(obstacle: Obstacle, *, now: float) -> str:
    """Return one line for people: the lack and its holders at ``now`` (seconds since the epoch)."""
    parts = [", ".join(filter(None, [obstacle.lacking, obstacle.detail]))]
    if obstacle.blockers:
        parts.append(f"{obstacle.relation} {_names(obstacle.blockers, now)}")
    if obstacle.ahead:
        verb = "is" if len(obstacle.ahead) == 1 else "are"
        parts.append(f"{_names(obstacle.ahead, now)} {verb} before it in the queue")
    return "; ".join(parts)


def is_same_reason(one: Obstacle, other: Obstacle) -> bool:
    """Return True if there is no news: the same resource is lacking, with the same holders."""
    return (one.lacking, _identities(one)) == (other.lacking, _identities(other))


def _identities(obstacle: Obstacle) -> frozenset[tuple[str, str, int]]:
    # A queue that grows or shrinks behind the same holders is no news.
    claims = obstacle.blockers or obstacle.ahead
    return frozenset((claim.session, claim.experiment, claim.pid) for claim in claims)


def _names(claims: Sequence[Claim], now: float) -> str:
    named = [_name(claim, now) for claim in claims[:_NAMED]]
    if len(claims) > _NAMED:
        named.append(f"{len(claims) - _NAMED} more")
    *rest, last = named
    return f"{', '.join(rest)} and {last}" if rest else last


def _name(claim: Claim, now: float) -> str:
    """Clean a name: another user's ticket can hold any text, including terminal escapes."""
    about = (
        f"pid {claim.pid}" if claim.pid else "",
        first_line(plain_text(claim.user)),
        _age(now - claim.since) if claim.since else "",
    )
    known = ", ".join(filter(None, about))
    return first_line(plain_text(claim.experiment)) + (f" ({known})" if known else "")


def _age(seconds: float) -> str:
    """Render an age, coarse on purpose: ``42s``, ``12min``, ``3h05min``."""
    whole = max(0, round(seconds))
    if whole < 60:  # noqa: PLR2004  a minute
        return f"{whole}s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}h{minutes:02}min" if hours else f"{minutes}min"
