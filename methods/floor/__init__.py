"""The floor: the distance of each pixel to that of the mean training image. What does not beat it detects nothing."""
