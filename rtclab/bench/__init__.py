"""How fast is it? ``rtclab bench``: what a room costs, beside other media servers on the same load.

The server under test has a process of its own. Another is the publisher and another holds the viewers: real
ICE, DTLS and SRTP, but no decoding, so that it is the server that is measured. On a machine with two cores or
more the server has one and the load another.
"""
