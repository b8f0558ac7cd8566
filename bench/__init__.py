"""Measures what the suite costs: ``make bench``. One file of ``measures/`` is one benchmark."""
