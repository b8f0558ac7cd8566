"""A hyper-parameter search in pictures and tables, from its ``search.json`` alone."""
