"""Who asks for what, and when: made up from a seed, or read from a trace."""
