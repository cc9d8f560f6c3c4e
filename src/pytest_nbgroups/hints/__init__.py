"""Hints in the source of notebooks about the GPUs and CPUs that they use."""
