"""A table and its forms: Markdown, HTML, plain text, LaTeX, CSV."""
