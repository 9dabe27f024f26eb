"""DN2: the distance of an image to the nearest training images, each a single vector."""
