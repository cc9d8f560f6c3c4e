"""Runs an experiment: its notebooks in order, each in a fresh kernel."""
