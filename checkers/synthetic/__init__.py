"""Histories made by a seed, whose verdicts are known.

Simulated stores keep an isolation level (`stores`); stories break promises in named ways (`stories`). Each history says
which levels it satisfies and which it violates, by the way in which it was made.
"""
