"""The values that travel through the house: requests down, chunks across, events up. Standard library only."""
