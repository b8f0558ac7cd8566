"""The benchmarks, one a file; see ``bench/registry.py``."""
