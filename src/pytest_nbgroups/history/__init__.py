"""Measurements of earlier sessions, in one SQLite file."""
