"""What an attempt leaves to the next."""
