"""One file a reader: each lists the images of a layout as samples, with all that is wrong, from names alone."""
