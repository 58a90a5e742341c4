"""How strong a drawn fault is: over orders of magnitude, each as likely as the next."""

from __future__ import annotations

import math
from random import Random


def log_uniform(random: Random, low: float, high: float) -> float:
    """Between two positive bounds, evenly on a logarithmic scale."""
    return math.exp(random.uniform(math.log(low), math.log(high)))
