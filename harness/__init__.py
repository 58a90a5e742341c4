"""The roof of the house: runs scenarios; the only package that knows all the others."""

__version__ = "0.1.0"
