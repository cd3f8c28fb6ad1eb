"""Pictures of graphs: `render(graph, "svg")`, `write(graph, "g.svg")`, `Diagram(graph)`."""
