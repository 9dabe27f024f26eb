"""How far a study or a scoring is, for people: a live block or a bar on a terminal, plain lines elsewhere."""
