"""The methods: one file each; names that start with an underscore are building blocks."""
