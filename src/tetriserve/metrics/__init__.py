"""How well it went, in numbers: the one place that counts."""
