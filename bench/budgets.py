"""How many kernels a step of the pair may launch on a GPU; a benchmark counts, a test holds it."""

OUTSIDE = 20
"""Outside of recordings, the teacher's included: what the host has time for."""
INSIDE = {"kd": 310, "at": 410}
"""Inside of them, in float32: as counted with torch 2.15 (304 and 405), rounded up to tens."""
