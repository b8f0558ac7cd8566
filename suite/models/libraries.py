"""timm without wandb, which it would load for its own training script; imported before all others.

wandb takes as long to load as timm itself, in every worker; the suite uses it in the tracker's
process alone.
"""

from suite.loading import hidden

with hidden("wandb"):
    import timm as timm
