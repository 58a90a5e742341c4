"""The gateway: what a node does for a client: find the range, reach its leader, coordinate transactions."""
