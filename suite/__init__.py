"""The harness: one run from config to record. It names no method."""
