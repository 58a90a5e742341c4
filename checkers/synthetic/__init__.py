"""Histories made by a seed, whose verdicts are known.

Simulated stores keep an isolation level (`stores`), simulated objects are linearizable (`objects`); stories and breaks
break promises in named ways (`stories`, `breaks`). Each history says what holds and what does not, by the way in which
it was made. `python -m checkers.synthetic --help` writes them as files.
"""
