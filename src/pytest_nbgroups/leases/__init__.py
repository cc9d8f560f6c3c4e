"""Shares the machine between processes."""
