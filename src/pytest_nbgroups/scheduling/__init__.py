"""Pure decisions: fit, order and expected duration of experiments."""
