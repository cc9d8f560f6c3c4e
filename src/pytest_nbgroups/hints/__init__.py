"""What the source of notebooks tells of the GPUs and CPUs that they use."""
