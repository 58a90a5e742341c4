"""A database in memory, for trying the harness itself: right by default, wrong in chosen ways."""
