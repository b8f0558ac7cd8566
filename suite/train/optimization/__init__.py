"""From loss terms to changed weights: gradients, optimizer, learning rate, scale, clipping."""
