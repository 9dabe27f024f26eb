"""Why a defect is missed, and which training images are suspicious: told of runs that are recorded already."""
