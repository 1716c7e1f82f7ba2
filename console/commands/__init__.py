"""The command line: one module per command, joined by :mod:`console.commands.group`."""
