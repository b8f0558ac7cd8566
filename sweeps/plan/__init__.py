"""From an experiment's YAML to the list of its runs."""
