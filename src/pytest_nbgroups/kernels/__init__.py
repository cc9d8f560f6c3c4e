"""One kernel's life, seen from its client."""
