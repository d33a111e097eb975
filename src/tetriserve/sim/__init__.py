"""The same scheduler on virtual time: no device, no waiting."""
