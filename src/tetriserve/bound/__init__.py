"""What is possible at all: how many deadlines a scheduler could meet that knows the future."""
