"""Finished runs on images that they were not trained on; they train no further."""
