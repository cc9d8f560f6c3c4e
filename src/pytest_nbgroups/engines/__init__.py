"""Places where experiments run."""
