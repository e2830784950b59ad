"""How do bytes reach a client? The UDP port, ICE-lite, DTLS, SRTP and batched sends."""
