"""The panes, one a file. Each shows a `Scene` and posts the messages of `messages`."""
