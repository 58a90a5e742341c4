"""Transactions without I/O: latches, locks, records, the timestamp cache, and evaluation at a range's leader."""
