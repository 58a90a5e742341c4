"""A counter guarded by a lease: an ordinary asyncio program, and the search for its bug in a simulated world."""
