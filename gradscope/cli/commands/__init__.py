"""One verb a file: its docstring is its help, `configure` declares its options, `run` returns the exit status."""
