"""How does an offer reach a room? Messages, the session, SDP, and one file for each carrier."""
