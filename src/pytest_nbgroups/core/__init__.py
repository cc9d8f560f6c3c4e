"""Values that every room shares, and their codec."""
