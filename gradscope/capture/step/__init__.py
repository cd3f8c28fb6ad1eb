"""The step being built: its tensors, what it holds, and where it ends."""
