"""TetriServe: serve diffusion transformers by their deadlines."""
