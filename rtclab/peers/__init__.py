"""Who takes part without a browser? Headless clients, their sources and their sinks."""
