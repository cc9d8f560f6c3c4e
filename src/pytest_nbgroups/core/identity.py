"""Names of a session and of this version of the plugin."""

from __future__ import annotations

import time
from importlib.metadata import PackageNotFoundError, version


def session_id(started_at: float, token: str) -> str:
    """Return ``2025-01-31T12-30-05Z-1a2b3c``: sorts by time, fits a file name, ``token`` is random."""
    return f"{time.strftime('%Y-%m-%dT%H-%M-%SZ', time.gmtime(started_at))}-{token}"


def plugin_version() -> str:
    """Return the installed version, or ``unknown``."""
    try:
        return version("pytest-nbgroups")
    except PackageNotFoundError:  # imported from a source tree that is not installed
        return "unknown"
