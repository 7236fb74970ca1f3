"""A small detection set that the kit draws itself, and the run that the demo makes of it."""
