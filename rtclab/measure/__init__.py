"""What happened? Numbers read back from pictures, and what was sent, lost and shown."""
