"""DFM: how much of an image's features the directions in which normal images differ leave unexplained."""
