"""Experiments on the workers of pytest-xdist."""
