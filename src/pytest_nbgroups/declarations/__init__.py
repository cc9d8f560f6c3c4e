"""Declarations of an experiment: its keys, files, order and requirements."""
