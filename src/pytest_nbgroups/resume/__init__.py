"""Everything that an attempt leaves to the next."""
