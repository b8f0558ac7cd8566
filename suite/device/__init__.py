"""How a step runs on hardware: ranks, precision, CUDA graphs, determinism, memory."""
