"""What should be: pure functions from a job and what is seen of it to a decision. No clock, no randomness, no I/O."""
