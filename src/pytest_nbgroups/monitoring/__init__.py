"""Memory of a run over time, and why a kernel died."""
