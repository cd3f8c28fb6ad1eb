"""The command line: one error boundary, one file a verb."""
