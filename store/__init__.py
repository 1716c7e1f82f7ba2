"""What is remembered: flags, holds and audit in one durable file, evidence in a second, cheaper one.

Only the control process imports this room: SQLAlchemy costs half a second to import, and a
worker or a comparer must never wait for a disk.
"""
