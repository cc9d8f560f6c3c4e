"""What an experiment asks for: its keys, files, order and requirements."""
