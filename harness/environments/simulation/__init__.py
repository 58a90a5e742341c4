"""Simulated hosts on virtual time: a whole cluster in one process, decided by one seed."""

from results import kernels

kernels.install()
