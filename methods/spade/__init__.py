"""SPADE: the nearest training images first, then each place beside all places of these."""
