"""Metrics of the gap between the features of teacher and student."""
