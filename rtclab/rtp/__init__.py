"""What is inside a packet? Pure parsing and state machines: no I/O, no clock."""
