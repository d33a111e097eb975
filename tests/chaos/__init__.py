"""Chaos: the real server under load, with faults drawn in advance from a seed. `scripts/chaos` runs it."""
