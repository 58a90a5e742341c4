"""Many runs instead of one: trials, seeds drawn by the thousand, sweeps."""
