"""The process that starts, reaps and kills kernels."""
