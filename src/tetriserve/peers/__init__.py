"""What a user would otherwise run: other engines at a fixed degree, first come first served, behind the same API."""
