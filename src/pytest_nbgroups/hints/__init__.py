"""Hints in the source of notebooks on the GPUs and CPUs that they use."""
