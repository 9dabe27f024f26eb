"""SoftPatch: PatchCore for training images of which some may show a defect."""
