"""The paper's experiment, for real: servers under load, beside their simulations and beside what others would do."""
