"""What would run, without running it."""
