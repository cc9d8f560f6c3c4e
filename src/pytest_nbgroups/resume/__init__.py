"""Reuse of an experiment's earlier attempt."""
