"""Any image model of anomalib as a method: trained by its own Engine, scored by its raw torch model."""
