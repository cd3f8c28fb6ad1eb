"""A step that has closed, as records and rows."""
