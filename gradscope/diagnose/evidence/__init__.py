"""What the checks ask of a trace, each question answered in one place. See the modules' first lines."""
