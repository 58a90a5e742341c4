"""Directed schedules: stories of one Raft group, told step by step, that random search would take too long to find.

Each module here tells one story. `directed(plant)` plays it with a defect planted or without, and returns what was
broken, one sentence each; the clean twin returns nothing. A defect names its story in its `DIRECTED`. Where a story has
`clients`, `witnessed(plant)` returns the history that they keep; a defect names that one in its `WITNESSED`.
"""
