"""The notebook file: reading, saving, outputs and scanning."""
