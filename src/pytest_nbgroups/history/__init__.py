"""What earlier sessions measured, in one SQLite file."""
