"""Isolation: did transactions behave as if nobody else were there, and if not, how not?"""
