"""Charts of results, from their JSON. matplotlib is imported here alone."""
