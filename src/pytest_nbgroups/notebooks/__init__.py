"""The notebook file: read, save, outputs, scan."""
