"""What answers mean: exchanges, comparers and their verdicts; the messages of the local sockets."""
