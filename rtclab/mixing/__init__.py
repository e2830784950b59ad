"""How do many pictures and voices become one? The works of a mixer (RFC 7667 section 3.6).

Two clocks that know nothing of each other: `pictures` decodes, lays out and encodes video, `sound` mixes what
each listener hears. Each runs on a thread of its own, so that a change of layout cannot disturb the sound.
"""
