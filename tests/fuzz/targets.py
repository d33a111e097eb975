"""Everything that parses: the one list."""

from fuzz import checkpoints, laboratory, serving

TARGETS = (*serving.TARGETS, *laboratory.TARGETS, *checkpoints.TARGETS)
