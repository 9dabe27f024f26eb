"""The plan before its first test figure, and who has seen which test images."""
