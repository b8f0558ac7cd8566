"""What a method may import: the Distiller, a network's inner features, random numbers, errors."""
