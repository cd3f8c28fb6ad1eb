"""The checks: one module for each family of mistakes. None imports another; all read `evidence`."""
