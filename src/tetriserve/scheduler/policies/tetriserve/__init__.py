"""The round scheduler of the TetriServe paper, one mechanism per file; `rounds` puts them together."""
