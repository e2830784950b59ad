"""Who gets which packet? Producers, layers, the fan-out and what each architecture forwards."""
