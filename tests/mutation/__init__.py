"""Mutation testing: are the checkers' tests strict enough to notice a small change of the checkers?"""
