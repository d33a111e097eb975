"""HTTP out: loads that are sent to a server, and what came back."""
