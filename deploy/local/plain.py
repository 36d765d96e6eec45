"""For clients that speak plain HTTP to loopback: to read the certificates of the world takes 20 ms, for each of them anew."""

import ssl

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
