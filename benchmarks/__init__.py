"""Speed, memory and counts, printed as tables."""
