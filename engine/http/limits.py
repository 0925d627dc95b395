"""What a server may take of memory and time, whatever it sends. Bytes and seconds."""

LONGEST_ANSWER = 64 * 2**20
"""A longer answer is refused, as it is sent and as it is unpacked."""

LONGEST_ERROR = 2**16
"""No more is read of the body of an error status."""

LONGEST_CALL = 3600.0
"""A call ends then although its answer still drips, or after ``timeout`` if that is more."""

CONNECT_WAIT = 10.0
"""For a connection, and again for its TLS handshake."""

ERROR_WAIT = 5.0
"""For the body of an error status: then what came of it has to do."""

END_WAIT = 0.5
"""For the end of the body once the answer is complete, so that the connection can be kept."""
