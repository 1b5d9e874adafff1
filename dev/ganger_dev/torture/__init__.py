"""Attacks on checkpoints, counted: damage, kills at every call, kills of a training gang. `make chaos` runs them."""
