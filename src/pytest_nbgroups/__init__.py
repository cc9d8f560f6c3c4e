"""Run directories of ordered Jupyter notebooks as atomic, parallel pytest items."""
