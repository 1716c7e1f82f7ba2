"""Bytes: the supervisor, the workers and everything between two sockets."""
