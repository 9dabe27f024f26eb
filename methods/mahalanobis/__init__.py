"""A Gaussian over the channel means of whole images, and the distance to it."""
