"""Pictures: each function takes data and an Axes (or makes a Figure) and returns it."""
