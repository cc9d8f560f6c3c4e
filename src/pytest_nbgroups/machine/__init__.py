"""Finds what this machine, container or allocation has: CPUs, memory, GPUs."""
