"""What if the network is bad? Servers and links that a notebook can have for itself."""
