"""A method and a kind of dataset for adloc, each a file."""
