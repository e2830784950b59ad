"""What does a person see? The publisher and the viewer; they speak signaling and know no room."""
