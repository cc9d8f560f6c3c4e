"""The only code that knows pytest, xdist and execnet."""
