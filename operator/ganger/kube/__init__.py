"""Talking to the API server: the only room that knows the client library."""
