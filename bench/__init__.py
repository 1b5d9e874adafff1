"""Measurements. `make bench` runs all of them and writes build/bench.json; nothing here is asserted in a test."""
