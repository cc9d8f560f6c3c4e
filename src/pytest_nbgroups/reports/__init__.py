"""Renders what happened. Data first, then one renderer a file."""
