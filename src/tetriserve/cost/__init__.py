"""What things cost: measured profiles, and the model that answers for sizes between the measured ones."""
