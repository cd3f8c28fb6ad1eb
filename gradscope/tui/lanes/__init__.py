"""What the graph pane draws, without Textual: which nodes, in which rows and lanes, and what each row says."""
