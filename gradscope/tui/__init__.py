"""The terminal UI: steps through a trace, forwards and backwards. The only room that imports textual."""
