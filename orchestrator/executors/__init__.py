"""Where stages are computed: in this process, or on a Ray cluster. Figures do not depend on it."""
