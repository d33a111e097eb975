"""What runs on one device: model adapters, sequence parallelism, the solver. Knows nothing of processes."""
