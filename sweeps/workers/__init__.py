"""What a job does: take runs of its list, one after another, and train them."""
