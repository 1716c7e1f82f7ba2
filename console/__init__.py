"""People: the control process with its admin API, and the commands that call it."""
