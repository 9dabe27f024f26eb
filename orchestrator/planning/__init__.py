"""What a study implies, worked out before anything is computed: images, runs, stages and what they share."""
