"""Control of nbformat's log: its records repeat a failure, or are harmless."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def silenced() -> Generator[None]:
    """Keep nbformat from logging faults of a notebook.

    pytest shows captured records below a failure, so the error line would appear again for each
    validation: three times for one bad cell. Other threads log as before.
    """
    from traitlets.log import get_logger

    thread, found = threading.get_ident(), get_logger()
    logger = found.logger if isinstance(found, logging.LoggerAdapter) else found

    def is_elsewhere(_record: logging.LogRecord) -> bool:
        return threading.get_ident() != thread

    logger.addFilter(is_elsewhere)
    try:
        yield
    finally:
        logger.removeFilter(is_elsewhere)
