"""Patches of the user's source: where in the syntax tree, what edit, and how a patch is applied."""
