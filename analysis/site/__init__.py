"""A site of the results: an overview, and a page for each pair, method and run."""
