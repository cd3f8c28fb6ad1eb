"""Where calls were made in the user's code, and what the source says there."""
