"""Places for experiments to run."""
