"""How each stage is computed, and the store that keeps what was computed. The first look at a test image is here."""
