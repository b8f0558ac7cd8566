"""From a config to a finished run: build, group, trainer, step, evaluation, result."""
