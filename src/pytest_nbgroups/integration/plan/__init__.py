"""The plan of a session, without running it."""
