"""What happened, told by the hooks and worded as moments of the step."""
