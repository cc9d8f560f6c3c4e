"""Pure decisions: what fits, what runs next, how long it takes."""
